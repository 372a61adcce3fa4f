package main

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport/sallyport/authz/identity"
)

// keyring runs one key set for each issuer and keeps those whose configuration
// a reload leaves alone, so that it costs no fetch.
type keyring struct {
	ctx   context.Context
	group *errgroup.Group
	log   *slog.Logger

	mu   sync.Mutex // guards sets
	sets map[string]*runningSet
}

type runningSet struct {
	cfg  identity.KeySetConfig
	keys *identity.KeySet
	stop context.CancelFunc
}

func newKeyring(ctx context.Context, group *errgroup.Group, log *slog.Logger) *keyring {
	return &keyring{ctx: ctx, group: group, log: log, sets: make(map[string]*runningSet)}
}

// change collects the key sets of one configuration. Nothing runs, and nothing
// is stopped, before commit: a configuration that is refused leaves no trace.
type change struct {
	ring *keyring
	sets map[string]*runningSet
}

func (r *keyring) change() *change {
	return &change{ring: r, sets: make(map[string]*runningSet)}
}

// keySet is a keySource.
func (c *change) keySet(cfg identity.KeySetConfig) (identity.Keys, error) {
	cfg.Log = c.ring.log
	c.ring.mu.Lock()
	running := c.ring.sets[cfg.Name]
	c.ring.mu.Unlock()
	if running != nil && sameKeySet(running.cfg, cfg) {
		c.sets[cfg.Name] = running
		return running.keys, nil
	}
	keys, err := identity.NewKeySet(cfg)
	if err != nil {
		return nil, err
	}
	if running != nil {
		keys.Adopt(running.keys)
	}
	c.sets[cfg.Name] = &runningSet{cfg: cfg, keys: keys}
	return keys, nil
}

// sameKeySet reports whether a running set needn't be replaced.
func sameKeySet(a, b identity.KeySetConfig) bool {
	if (a.RootCAs == nil) != (b.RootCAs == nil) || a.RootCAs != nil && !a.RootCAs.Equal(b.RootCAs) {
		return false
	}
	a.RootCAs, b.RootCAs = nil, nil // pools hold functions, which never compare equal
	return reflect.DeepEqual(a, b)
}

// load fetches the keys of new sets, once. A provider that is away is not an
// error: its tokens are refused with 503 until it is back.
func (c *change) load(ctx context.Context) {
	var group errgroup.Group
	for name, set := range c.sets {
		if set.stop != nil {
			continue
		}
		group.Go(func() error {
			if err := set.keys.Load(ctx); err != nil {
				c.ring.log.WarnContext(ctx, "keys not loaded yet", "issuer", name, "error", err)
			}
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
}

// commit starts the new sets and stops those that are no longer configured.
func (c *change) commit() {
	r := c.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, set := range c.sets {
		if set.stop != nil {
			continue
		}
		var ctx context.Context
		ctx, set.stop = context.WithCancel(r.ctx)
		r.group.Go(func() error {
			if err := set.keys.Run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("keys of issuer %q: %w", name, err)
			}
			return nil
		})
	}
	for name, set := range r.sets {
		if c.sets[name] != set {
			set.stop()
		}
	}
	r.sets = c.sets
}

// status lists the key sets in no particular order.
func (r *keyring) status() []identity.KeySetStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]identity.KeySetStatus, 0, len(r.sets))
	for _, set := range r.sets {
		list = append(list, set.keys.Status())
	}
	return list
}
