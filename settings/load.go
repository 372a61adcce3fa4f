// Package settings turns one YAML file, between built-in defaults and the
// environment, into a valid Config.
//
// Everything that is wrong is reported at once, each problem with its place in
// the file or the variable it came from. Nothing is guessed: unknown keys and
// unknown SALLYPORT_ variables are problems too.
package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// Loaded is a valid configuration, and where it comes from.
type Loaded struct {
	Config *Config
	// Warnings are about what is allowed and deserves a look.
	Warnings Problems
	// Origins say where values come from, by path, such as listen.grpc or
	// issuers[0].name. A path that isn't there is a default.
	Origins map[string]Origin
	// Files are the absolute paths of the files that Sallyport reads because of
	// this configuration, itself first. Only Load fills it.
	Files []string
}

// Load reads a configuration file, and environ ("NAME=value", as from
// os.Environ) over it. Relative paths, in either, are relative to the file's
// folder. Files that Sallyport reads must be there and usable; those that only
// Envoy reads are not looked at. The error is Problems. With it comes what could
// be read, unless the file couldn't: only good for looking at the other files.
func Load(file string, environ []string) (*Loaded, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, Problems{{File: file, Message: "can't be read: " + fileError(err) +
			"; name another file with --config, or write one (`sallyport example` prints a start)"}}
	}
	r := newReport(file)
	cfg := r.read(data, environ, time.Now())
	files := r.checkFiles(cfg)
	if absolute, err := filepath.Abs(file); err == nil {
		file = absolute
	}
	return &Loaded{Config: cfg, Warnings: r.warnings, Origins: r.origins, Files: slices.Insert(files, 0, file)}, r.err()
}

// Parse is Load without looking at any file: data is what the file of this name
// holds. The error is Problems.
func Parse(name string, data []byte, environ []string) (*Loaded, error) {
	r := newReport(name)
	cfg := r.read(data, environ, time.Now())
	if err := r.err(); err != nil {
		return nil, err
	}
	return &Loaded{Config: cfg, Warnings: r.warnings, Origins: r.origins}, nil
}

// read merges the layers and checks the result. Values that could not be read
// keep their defaults, so that the checks say nothing about them.
func (r *report) read(data []byte, environ []string, now time.Time) *Config {
	cfg := defaults()
	root, line, err := readTree(data)
	if err != nil {
		r.broke("", line, "%v", err)
		return &cfg // what is missing then is no news
	}
	if root != nil && !isNull(root) {
		r.origins[""] = Origin{Line: root.Line}
		d := decoder{report: r}
		d.decode(root, "", field{}, reflect.ValueOf(&cfg).Elem())
		if r.unread[""] { // cut off: the rest would be about what isn't there
			return &cfg
		}
	}
	r.applyEnvironment(&cfg, environ)
	r.resolvePaths(&cfg)
	r.complete(&cfg)
	r.check(&cfg, now)
	r.warnings.sort()
	return &cfg
}

// readFile reads no more than a configuration may have.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// fileError drops the path, which stands beside the message anyway.
func fileError(err error) string {
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		err = pathError.Err
	}
	return err.Error()
}

// defaultIssuer is the name of the issuer that the oidc_ keys edit.
const defaultIssuer = "default"

// multitenantIssuer is what the metadata of Microsoft's public cloud calls
// itself; the template can't be fetched, the metadata is at "organizations".
const (
	multitenantIssuer    = "https://login.microsoftonline.com/{tenantid}/v2.0"
	multitenantDiscovery = "https://login.microsoftonline.com/organizations/v2.0/.well-known/openid-configuration"
)

// complete fills in what follows from other values.
func (r *report) complete(cfg *Config) {
	r.completeDefaultIssuer(cfg)
	for i := range cfg.Issuers {
		issuer := &cfg.Issuers[i]
		if issuer.Preset == "entra-multitenant" {
			if issuer.Issuer == "" {
				issuer.Issuer = multitenantIssuer
			}
			if issuer.Issuer == multitenantIssuer && issuer.DiscoveryURL == "" && issuer.JWKSURL == "" {
				issuer.DiscoveryURL = multitenantDiscovery
			}
		}
	}
	for i := range cfg.Servers {
		server := &cfg.Servers[i]
		if u := &server.Upstream; u.TLS && u.SNI == "" {
			host, _, _ := net.SplitHostPort(u.Address) // a broken one is reported later
			if _, err := netip.ParseAddr(host); err != nil {
				u.SNI = host
			}
		}
		if len(server.Audiences) > 0 {
			continue
		}
		audience := server.Resource
		usesDefault := len(server.Issuers) == 0 || slices.Contains(server.Issuers, defaultIssuer)
		if cfg.Authentication.OIDCAudience != "" && usesDefault {
			audience = cfg.Authentication.OIDCAudience
		}
		if audience != "" {
			server.Audiences = []string{audience}
		}
	}
}

// completeDefaultIssuer applies authentication.oidc_issuer and oidc_jwks_url to
// the issuer named "default". They fill it; they don't replace what the list
// says, because then the issuer of one provider could meet the keys of another.
func (r *report) completeDefaultIssuer(cfg *Config) {
	auth := &cfg.Authentication
	i := slices.IndexFunc(cfg.Issuers, func(issuer Issuer) bool { return issuer.Name == defaultIssuer })
	if i < 0 {
		if auth.OIDCIssuer == "" {
			const message = "belongs to the issuer named \"default\", and there is none: set authentication.oidc_issuer (OIDC_ISSUER)"
			if auth.OIDCJWKSURL != "" {
				r.refuse("authentication.oidc_jwks_url", message)
			}
			if auth.OIDCAudience != "" {
				r.refuse("authentication.oidc_audience", message)
			}
			return
		}
		i = len(cfg.Issuers)
		fresh := Issuer{Name: defaultIssuer}
		fresh.setDefaults()
		cfg.Issuers = append(cfg.Issuers, fresh)
		r.origins[fmt.Sprintf("issuers[%d]", i)] = r.origins["authentication.oidc_issuer"]
	}
	fill := func(into *string, key, value, from string) {
		path := fmt.Sprintf("issuers[%d].%s", i, key)
		switch {
		case value == "" || *into == value:
		case *into == "":
			*into = value
			r.origins[path] = r.origins[from]
		default:
			r.refuse(from, "differs from %s, which is %s: remove one of them", path, clip(*into))
		}
	}
	fill(&cfg.Issuers[i].Issuer, "issuer", auth.OIDCIssuer, "authentication.oidc_issuer")
	fill(&cfg.Issuers[i].JWKSURL, "jwks_url", auth.OIDCJWKSURL, "authentication.oidc_jwks_url")
}
