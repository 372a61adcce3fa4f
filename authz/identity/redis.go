package identity

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisConfig says how the stores of this package and of authz use Redis 6.2 or
// newer: a single server, one that Sentinels guard, or a Cluster.
type RedisConfig struct {
	// Prefix is in front of the names of all keys and channels, default
	// "sallyport:". It has no braces: in a Cluster they would put all keys onto
	// one node.
	Prefix string
	// Timeout is how long an operation may take, at most, default 500ms.
	Timeout time.Duration
}

// Ready fills in the defaults and reports everything that can't work with this
// client. It doesn't connect.
func (cfg *RedisConfig) Ready(client redis.UniversalClient) error {
	if cfg.Prefix == "" {
		cfg.Prefix = "sallyport:"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 500 * time.Millisecond
	}
	var errs []error
	if strings.ContainsAny(cfg.Prefix, "{}") {
		errs = append(errs, fmt.Errorf("prefix: %q has a brace", cfg.Prefix))
	}
	if cfg.Timeout < time.Millisecond {
		errs = append(errs, fmt.Errorf("timeout: %v is under 1ms", cfg.Timeout))
	}
	return errors.Join(append(errs, checkClient(client))...)
}

// checkClient refuses a client that would ignore deadlines, or that spreads keys
// over servers by itself and forgets them when their number changes.
func checkClient(client redis.UniversalClient) error {
	var obeysDeadlines bool
	switch c := client.(type) {
	case *redis.Client:
		obeysDeadlines = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		obeysDeadlines = c.Options().ContextTimeoutEnabled
	default:
		return fmt.Errorf("client: a %T can't keep this", client)
	}
	if !obeysDeadlines {
		return errors.New("client: it ignores deadlines, set ContextTimeoutEnabled")
	}
	return nil
}
