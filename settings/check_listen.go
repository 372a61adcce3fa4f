package settings

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"time"
)

// checkListeners keeps what listens in the clear on loopback, unless the
// operator has said the word.
func (r *report) checkListeners(cfg *Config) {
	l, e := &cfg.Listen, &cfg.Envoy
	secure := r.checkTLS("listen.tls", l.TLS, true)
	r.checkPlaintext("listen", l.Plaintext, l.TLS)
	for _, listener := range []struct{ key, address string }{{"grpc", l.GRPC}, {"http", l.HTTP}} {
		path := "listen." + listener.key
		loopback, ok := r.address(path, listener.address, true)
		if ok && !loopback {
			r.checkReachable(cfg, path, "listen", listener.address, secure || l.Plaintext == plaintextWord)
		}
	}
	if loopback, ok := r.address("listen.ops", l.Ops, true); ok && !loopback {
		r.refuse("listen.ops", "%s can be reached from other machines, and metrics and profiles have no authentication: use 127.0.0.1 or unix:/path", l.Ops)
	}

	secure = r.checkTLS("envoy.tls", e.TLS, false)
	r.checkPlaintext("envoy", e.Plaintext, e.TLS)
	if loopback, ok := r.address("envoy.listen", e.Listen, false); ok && !loopback {
		r.checkReachable(cfg, "envoy.listen", "envoy", e.Listen, secure || e.Plaintext == plaintextWord)
	}
	if e.Admin != "" {
		if loopback, ok := r.address("envoy.admin", e.Admin, true); ok && !loopback {
			r.refuse("envoy.admin", "%s can be reached from other machines, and the interface can stop Envoy: use 127.0.0.1 or unix:/path", e.Admin)
		}
	}
	r.checkServiceTLS(cfg)
	r.checkTaken(cfg)
	within(r, "listen.shutdown_grace", l.ShutdownGrace, time.Millisecond, 5*time.Minute)
}

// plaintextWord is what an operator says to listen in the clear.
const plaintextWord = "i-know"

// checkReachable decides about an address that other machines can reach.
func (r *report) checkReachable(cfg *Config, path, section, address string, allowed bool) {
	switch {
	case cfg.Development():
		r.refuse(path, "%s is not loopback, and the development profile is for loopback only: use 127.0.0.1, or remove `profile: development`", address)
	case !allowed:
		r.refuse(path, "%s is not loopback: set %s.tls, or write `plaintext: i-know` in %s if something else protects the connection", address, section, section)
	}
}

// checkTLS reports whether TLS is set. With mutual the client's authority is
// needed, too.
func (r *report) checkTLS(path string, t TLS, mutual bool) bool {
	if t == (TLS{}) {
		return false
	}
	for _, f := range []struct {
		key, value string
		needed     bool
	}{{"cert_file", t.CertFile, true}, {"key_file", t.KeyFile, true}, {"client_ca_file", t.ClientCAFile, mutual}} {
		if f.value == "" && f.needed {
			r.refuse(path+"."+f.key, "is missing: TLS needs it beside the others")
		}
	}
	return true
}

// checkServiceTLS wants Envoy's side of listen.tls to be whole. It may be left
// out where another tool configures Envoy.
func (r *report) checkServiceTLS(cfg *Config) {
	t := &cfg.Envoy.ServiceTLS
	if *t == (ServiceTLS{}) {
		return
	}
	if cfg.Listen.TLS == (TLS{}) {
		r.refuse("envoy.service_tls", "needs listen.tls, whose other side it is: set it, or remove this")
		return
	}
	for _, f := range []struct{ key, value string }{{"ca_file", t.CAFile}, {"cert_file", t.CertFile}, {"key_file", t.KeyFile}} {
		if f.value == "" {
			r.refuse("envoy.service_tls."+f.key, "is missing: with listen.tls Envoy needs a certificate to call Check")
		}
	}
	unix := strings.HasPrefix(cfg.Listen.GRPC, "unix:") || strings.HasPrefix(cfg.Listen.HTTP, "unix:")
	if t.ServerName == "" && unix {
		r.refuse("envoy.service_tls.server_name", "is missing: a Unix socket has no name, so write the one in listen.tls.cert_file")
	}
}

func (r *report) checkPlaintext(section, word string, t TLS) {
	if path := section + ".plaintext"; r.checkPlaintextWord(path, word) && t != (TLS{}) {
		r.refuse(path, "conflicts with %s.tls: remove one of them", section)
	}
}

// checkPlaintextWord reports whether the word was said.
func (r *report) checkPlaintextWord(path, word string) bool {
	if word != "" && word != plaintextWord {
		r.refuse(path, "must be i-know, or not be there, not %q", clip(word))
	}
	return word == plaintextWord
}

// address reads "ip:port" and, where allowed, "unix:/path". It reports whether
// other machines can't reach it, and whether it could be read.
func (r *report) address(key, text string, unix bool) (loopback, ok bool) {
	form := "ip:port, such as 127.0.0.1:9001"
	if unix {
		form += ", or unix: and an absolute path"
	}
	if socket, isUnix := strings.CutPrefix(text, "unix:"); isUnix && unix {
		switch {
		case !path.IsAbs(socket) || path.Clean(socket) != socket:
			r.refuse(key, "must be %s, not %q", form, clip(text))
		case len(socket) > maxSocketPath:
			r.refuse(key, "is longer than the %d bytes that the path of a socket may have: shorten it", maxSocketPath)
		default:
			return true, true
		}
		return false, false
	}
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		hint := ""
		if strings.HasPrefix(text, "localhost:") {
			hint = ": a name may lead anywhere, write 127.0.0.1"
		} else if strings.HasPrefix(text, ":") {
			hint = ": write 127.0.0.1" + text + ", or 0.0.0.0" + text + " for all interfaces"
		}
		r.refuse(key, "must be %s, not %q%s", form, clip(text), clip(hint))
		return false, false
	}
	return address.Addr().IsLoopback(), true
}

// maxSocketPath is what sun_path of unix(7) holds, without its final zero.
const maxSocketPath = 107

// checkTaken refuses two listeners on one address. Port 0 is a new one each time.
func (r *report) checkTaken(cfg *Config) {
	taken := make(map[string]string)
	for _, l := range []struct{ key, address string }{
		{"listen.grpc", cfg.Listen.GRPC}, {"listen.http", cfg.Listen.HTTP}, {"listen.ops", cfg.Listen.Ops},
		{"envoy.listen", cfg.Envoy.Listen}, {"envoy.admin", cfg.Envoy.Admin},
	} {
		address := l.address
		if parsed, err := netip.ParseAddrPort(address); err == nil {
			if parsed.Port() == 0 {
				continue
			}
			address = fmt.Sprint(parsed.Addr().Unmap(), " ", parsed.Port())
		}
		if first, ok := taken[address]; ok && address != "" {
			r.refuse(l.key, "%s is already the address of %s: choose another one", l.address, first)
		}
		taken[address] = l.key
	}
}
