package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
)

const (
	modeGovernance = "GOVERNANCE"
	modeCompliance = "COMPLIANCE"
)

// lockSlack is how far the writer's clock, which retention is counted by, may be
// from the store's, which the listing is from.
const lockSlack = time.Hour

// locked reports versions that aren't protected as they should be.
func (r *run) locked(ctx context.Context, log string, e entry, from, to uint64) (findings []Finding, err error) {
	if r.opts.Lock == nil || !r.store.WORM() {
		return nil, nil
	}
	for _, v := range e.versions {
		lock, err := r.store.Lock(ctx, e.key, v.ID)
		if err != nil && !errors.Is(err, archive.ErrNotLocked) {
			return findings, fmt.Errorf("lock of %s: %w", e.key, err)
		}
		what := r.opts.Lock.violation(lock, err, v.Modified)
		if what == "" {
			continue
		}
		f := finding(Tampered, CheckLock, log, e.key, from, to, "version %s is not protected: %s", v.ID, what)
		f.Version = v.ID
		findings = append(findings, f)
	}
	return findings, nil
}

// violation says what is wrong with a lock; empty: nothing.
func (p *LockPolicy) violation(lock archive.Lock, err error, written time.Time) string {
	until := written.Add(p.MinRetention - lockSlack)
	switch {
	case err != nil:
		return "it has no lock"
	case lock.Mode != modeCompliance && lock.Mode != p.Mode:
		return fmt.Sprintf("its lock's mode is %q, not %s", lock.Mode, p.Mode)
	case lock.RetainUntil.Before(until):
		return fmt.Sprintf("it is retained until %s, not %s", lock.RetainUntil.UTC().Format(time.RFC3339), until.Add(lockSlack).UTC().Format(time.RFC3339))
	}
	return ""
}
