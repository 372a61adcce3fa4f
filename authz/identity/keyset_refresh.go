package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Waits between refreshes after a failure: doubled from the first to the last.
const (
	firstBackoff = time.Second
	lastBackoff  = time.Minute
)

// Load fetches the set and returns when that is done. If the provider fails, the
// set of an earlier run in CacheDir will do, if it isn't older than MaxStale.
// With an error there is no usable set; Run may still bring one later. Load
// joins a refresh that is under way.
func (k *KeySet) Load(ctx context.Context) error {
	before := k.successes()
	if err := k.takeTurn(ctx); err != nil {
		return fmt.Errorf("load keys of issuer %q: %w", k.cfg.Name, err)
	}
	defer k.giveTurn()
	if k.successes() != before {
		return nil
	}
	err := k.refresh(ctx)
	if err == nil {
		return nil
	}
	if k.Generation() == 0 {
		return fmt.Errorf("load keys of issuer %q: %w", k.cfg.Name, err)
	}
	k.cfg.Log.WarnContext(ctx, "key set not fetched, the last good one is used", "issuer", k.cfg.Name, "error", err)
	return nil
}

// Run keeps the set fresh until ctx ends, and then returns nil. It fetches at
// once unless Load just did, then before each set is TTL old, sooner when an
// unknown kid asks for it, and after a failure with waits from a second to a
// minute. There must be one Run for a set.
func (k *KeySet) Run(ctx context.Context) error {
	defer k.landNext()
	seen := k.successes()
	due := k.cfg.Now()
	if t := k.table.Load(); t != nil && !t.fromDisk {
		due = t.fetched.Add(jittered(k.cfg.TTL))
	}
	backoff := time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(k.nextRefresh(due).Sub(k.cfg.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
			continue
		case <-timer.C:
		}
		err := k.takeTurn(ctx)
		if err != nil {
			return nil
		}
		if k.successes() == seen { // or Load was at it
			err = k.refresh(ctx)
		}
		seen = k.successes()
		k.giveTurn()
		switch {
		case err == nil:
			backoff = 0
			due = k.table.Load().fetched.Add(jittered(k.cfg.TTL))
		case ctx.Err() != nil:
			return nil
		default:
			k.cfg.Log.ErrorContext(ctx, "key set refresh failed", "issuer", k.cfg.Name, "error", err)
			backoff = min(max(2*backoff, firstBackoff), lastBackoff)
			due = k.cfg.Now().Add(jittered(backoff))
		}
	}
}

// nextRefresh is when Run refreshes next: when it is due, or sooner if unknown
// kids ask for it.
func (k *KeySet) nextRefresh(due time.Time) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unknown.next != nil && k.unknown.nextAt.Before(due) {
		return k.unknown.nextAt
	}
	return due
}

// jittered takes up to a tenth off, so that replicas don't fetch in step.
func jittered(d time.Duration) time.Duration {
	return d - rand.N(d/10) //nolint:gosec // to meet nobody, not to hide
}

// landNext ends the flight that will not begin any more.
func (k *KeySet) landNext() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.unknown.begin(); f != nil {
		close(f.done)
	}
}

func (k *KeySet) takeTurn(ctx context.Context) error {
	select {
	case <-k.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *KeySet) giveTurn() { k.turn <- struct{}{} }

func (k *KeySet) successes() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status.Refreshes - k.status.Failures
}

// refresh fetches the set once and puts it in place if it is any good. Without
// any set, the one on disk takes its place. The caller has the turn.
func (k *KeySet) refresh(ctx context.Context) error {
	k.mu.Lock()
	flight := k.unknown.begin()
	k.mu.Unlock()
	now := k.cfg.Now() // before the fetch: the set is at least this old
	set, err := k.source.get(ctx, now)
	if err == nil {
		k.replace(ctx, set, now, false)
	}
	if flight != nil {
		close(flight.done) // whoever waits needn't wait for the disk
	}
	if err == nil {
		k.recordSuccess(ctx, now, k.store(set.keys, now))
		return nil
	}
	k.recordFailure(err, now)
	if k.table.Load() == nil {
		if diskErr := k.loadStored(ctx, now); diskErr != nil {
			err = errors.Join(err, diskErr)
		}
	}
	return err
}

// replace puts a set in place. The generation stays if the keys did.
func (k *KeySet) replace(ctx context.Context, set parsedSet, fetched time.Time, fromDisk bool) {
	next := &keyTable{
		keys:       make(map[string]Key, len(set.keys)),
		dropped:    set.dropped,
		digest:     sha256.Sum256(marshalKeys(set.keys)),
		generation: 1,
		fetched:    fetched,
		expires:    fetched.Add(k.cfg.MaxStale),
		fromDisk:   fromDisk,
	}
	for _, key := range set.keys {
		next.keys[key.id] = key.Key
	}
	old := k.table.Load()
	changed := old == nil || old.digest != next.digest
	if old != nil {
		next.generation = old.generation
		if changed {
			next.generation++
		}
	}
	k.table.Store(next)
	if changed {
		k.cfg.Log.InfoContext(ctx, "key set changed", "issuer", k.cfg.Name, "keys", len(set.keys),
			"generation", next.generation, "from_disk", fromDisk, "dropped", set.dropped)
	}
}

// marshalKeys writes a set as a JWK Set, ordered by kid. The members are plain
// strings, so marshalling can't fail.
func marshalKeys(keys []parsedKey) []byte {
	set := struct {
		Keys []storedJWK `json:"keys"`
	}{}
	for _, key := range keys {
		set.Keys = append(set.Keys, key.jwk)
	}
	slices.SortFunc(set.Keys, func(a, b storedJWK) int { return strings.Compare(a.KID, b.KID) })
	raw, _ := json.Marshal(set)
	return raw
}

func (k *KeySet) recordSuccess(ctx context.Context, now time.Time, cacheErr error) {
	warning := errors.Join(k.source.metadataErr, cacheErr)
	if warning != nil {
		k.cfg.Log.WarnContext(ctx, "key set refreshed with a problem", "issuer", k.cfg.Name, "error", warning)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Refreshes++
	k.status.LastSuccess = now
	k.status.LastError = ""
	k.status.JWKSURL = k.source.jwks
	k.status.Warning = ""
	if warning != nil {
		k.status.Warning = warning.Error()
	}
}

func (k *KeySet) recordFailure(err error, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Refreshes++
	k.status.Failures++
	k.status.LastFailure = now
	k.status.LastError = err.Error()
}
