package settings

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"time"
)

var prefixPattern = regexp.MustCompile(`^[A-Za-z0-9:_.-]{1,64}$`)

func (r *report) checkTransactionSafety(cfg *Config) {
	t := &cfg.TransactionSafety
	within(r, "transaction_safety.idempotency_ttl_seconds", t.IdempotencyTTL, time.Minute, 168*time.Hour)
	within(r, "transaction_safety.derived_ttl_seconds", t.DerivedTTL, 10*time.Second, 24*time.Hour)
	within(r, "transaction_safety.lease_seconds", t.Lease, 3*time.Second, 5*time.Minute)
	within(r, "transaction_safety.max_response_bytes", t.MaxResponseBytes, 1024, 16<<20)
	within(r, "transaction_safety.replicas", t.Replicas, 0, 8)
	r.unique("transaction_safety.key_files", t.KeyFiles)
	if t.IdempotencyStoreType != "" {
		r.oneOf("transaction_safety.idempotency_store_type", t.IdempotencyStoreType, "memory", "redis")
	}
	if shortest := min(t.IdempotencyTTL, t.DerivedTTL); shortest <= t.Lease && t.IdempotencyTTL >= time.Minute && t.DerivedTTL >= 10*time.Second {
		r.refuse("transaction_safety.lease_seconds", "is %v, and keys are remembered for a shorter time: shorten it", t.Lease)
	}
	switch inRedis := t.Store(&cfg.Redis) == "redis"; {
	case inRedis && len(cfg.Redis.Addresses) == 0:
		r.refuse("transaction_safety.idempotency_store_type", "is redis, and redis.addresses is missing")
	case inRedis && len(t.KeyFiles) == 0 && t.IdempotencyEnabled:
		r.refuse("transaction_safety.key_files", "is missing: responses are encrypted in Redis; write 32 random bytes in hex to a file below secrets_dir, such as by `openssl rand -hex 32`")
	case !inRedis && len(t.KeyFiles) > 0:
		r.refuse("transaction_safety.key_files", "encrypts nothing: responses are kept in memory; remove it, or set redis.addresses")
	case !inRedis && t.Replicas > 0:
		r.refuse("transaction_safety.replicas", "needs redis: claims are kept in memory")
	}
}

func (r *report) checkRedis(cfg *Config) {
	c := &cfg.Redis
	r.oneOf("redis.mode", c.Mode, "single", "sentinel", "cluster")
	within(r, "redis.timeout", c.Timeout, 10*time.Millisecond, time.Second)
	if !prefixPattern.MatchString(c.Prefix) {
		r.refuse("redis.prefix", "must be 1 to 64 letters, digits, ':', '_', '.' and '-', not %q", clip(c.Prefix))
	}
	r.checkPlaintextWord("redis.plaintext", c.Plaintext)
	if len(c.Addresses) == 0 {
		for _, f := range []struct{ key, value string }{
			{"master_name", c.MasterName}, {"username", c.Username}, {"password_file", c.PasswordFile},
			{"plaintext", c.Plaintext}, {"tls.ca_file", c.TLS.CAFile},
		} {
			if f.value != "" {
				r.refuse("redis."+f.key, "does nothing without redis.addresses: set it, or remove this")
			}
		}
		return
	}
	r.unique("redis.addresses", c.Addresses)
	if c.Mode == "single" && len(c.Addresses) > 1 {
		r.refuse("redis.addresses", "has several servers: set redis.mode to sentinel or cluster")
	}
	if (c.Mode == "sentinel") != (c.MasterName != "") {
		r.refuse("redis.master_name", "goes with redis.mode: sentinel, which needs it")
	}
	if c.Username != "" && c.PasswordFile == "" {
		r.refuse("redis.password_file", "is missing: redis.username needs it")
	}
	for i, address := range c.Addresses {
		r.checkRedisAddress(fmt.Sprintf("redis.addresses[%d]", i), address, c)
	}
	switch t := &c.TLS; {
	case *t == (RedisTLS{}):
	case c.Plaintext != "":
		r.refuse("redis.plaintext", "conflicts with redis.tls: remove one of them")
	case t.CAFile == "":
		r.refuse("redis.tls.ca_file", "is missing: name the authorities of the server's certificate")
	case (t.CertFile == "") != (t.KeyFile == ""):
		r.refuse("redis.tls.cert_file", "and key_file belong together")
	}
}

func (r *report) checkRedisAddress(at, address string, c *Redis) {
	if socket, unix := strings.CutPrefix(address, "unix:"); unix {
		if c.Mode != "single" || !path.IsAbs(socket) {
			r.refuse(at, "must be unix: and an absolute path, of a single server")
		}
		return
	}
	host, port, err := net.SplitHostPort(address)
	ip, notIP := netip.ParseAddr(host)
	if err != nil || !isPort(port) || !hostPattern.MatchString(host) && notIP != nil {
		r.refuse(at, "must be host:port or unix:/path, not %q", clip(address))
		return
	}
	if loopback := notIP == nil && ip.IsLoopback(); !loopback && c.TLS == (RedisTLS{}) && c.Plaintext != plaintextWord {
		r.refuse(at, "%s is not loopback: set redis.tls, or write `plaintext: i-know` in redis if something else protects the connection", clip(address))
	}
}
