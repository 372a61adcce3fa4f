package verify

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/sallyport/sallyport/audit/ledger"
)

// bounds are the ends of the index's logs.
type bounds struct {
	mu    sync.Mutex // guards known
	known map[string]span
}

func (r *run) indexBounds(ctx context.Context, log string) (span, error) {
	r.bounds.mu.Lock()
	defer r.bounds.mu.Unlock()
	if s, ok := r.bounds.known[log]; ok {
		return s, nil
	}
	first, next, err := r.opts.Index.Bounds(ctx, log)
	if err != nil {
		return span{}, fmt.Errorf("index: %w", err)
	}
	if r.bounds.known == nil {
		r.bounds.known = make(map[string]span)
	}
	r.bounds.known[log] = span{first, next}
	return span{first, next}, nil
}

// compareRows compares the index with the leaves under a seal.
func (r *run) compareRows(ctx context.Context, l *link, leaves [][]byte, hashes []ledger.Hash) (findings []Finding, err error) {
	there, err := r.indexBounds(ctx, l.log())
	if err != nil {
		return nil, err
	}
	report := func(from, to uint64, what string, args ...any) {
		findings = append(findings, finding(Tampered, CheckIndex, l.log(), l.place(int(from-l.seal.First)), from, to, //nolint:gosec // within the seal
			"the index "+what, args...))
	}
	next := l.seal.First
	missing := func(to uint64) {
		if from, to := max(next, there.from), min(to, there.to); from < to {
			report(from, to-1, "has no row of it")
		}
	}
	for row, err := range r.opts.Index.Rows(ctx, l.log(), l.seal.First, l.size) {
		switch {
		case err != nil:
			return findings, fmt.Errorf("index: %w", err)
		case row.Seq < next:
			report(row.Seq, row.Seq, "has a second row of it")
			continue
		}
		missing(row.Seq)
		next = row.Seq + 1
		offset := row.Seq - l.seal.First
		if leaves[offset] == nil {
			continue
		}
		if row.LeafHash != hashes[offset] {
			report(row.Seq, row.Seq, "says that it is another event")
		} else if row.Differs != nil {
			if what := row.Differs(leaves[offset], l.place(int(offset))); what != "" { //nolint:gosec // within the seal
				report(row.Seq, row.Seq, "says something else about it: %s", what)
			}
		}
	}
	missing(l.size)
	return findings, nil
}

// compareEnd compares where the index ends with where the archive does. Neither has
// to wait for the other, so that only what is older than a moment counts.
func (c *chain) compareEnd(ctx context.Context) error {
	r := c.run
	if r.opts.Index == nil || !r.period.to.IsZero() || c.origin == "" {
		return nil
	}
	_, next, err := r.opts.Index.Bounds(ctx, c.origin)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if next < c.settled {
		r.report.add(finding(Incomplete, CheckIndex, c.origin, "", next, c.settled-1, "the index doesn't have them yet"))
	}
	return r.compareAhead(ctx, c.origin, c.end, next)
}

// maxAhead is how many rows that the archive doesn't have are looked at.
const maxAhead = 100_000

// compareAhead reports rows that the archive should have by now, and such as can't
// be of now. end is where the seals end, ends where the index does.
func (r *run) compareAhead(ctx context.Context, log string, end, ends uint64) error {
	seen, late, expected := 0, false, end
	for row, err := range r.opts.Index.Rows(ctx, log, end, math.MaxInt64) {
		switch {
		case err != nil:
			return fmt.Errorf("index: %w", err)
		case row.Time.After(r.report.Started.Add(underWay)) || row.Seq > expected+maxAhead:
			r.report.add(finding(Tampered, CheckIndex, log, "", row.Seq, row.Seq, "the index has a row of it, and no log can have come so far"))
			return nil
		case row.Time.Before(r.report.Started.Add(-underWay)) && !late:
			late = true
			r.report.add(finding(Incomplete, CheckIndex, log, "", row.Seq, max(row.Seq, ends-min(ends, 1)),
				"the index has them, and the archive not yet: its seals end at %d", end))
		}
		expected = row.Seq + 1
		if seen++; seen == maxAhead {
			break
		}
	}
	return nil
}

// compareNames looks at the logs that only the index has.
func (r *run) compareNames(ctx context.Context) error {
	if r.opts.Index == nil || !r.period.to.IsZero() {
		return nil
	}
	names, err := r.opts.Index.Names(ctx)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	archived := make(map[string]bool)
	for _, c := range r.logs {
		archived[c.origin] = true
	}
	for _, name := range names {
		if archived[name] {
			continue
		}
		if err := r.compareAhead(ctx, name, 0, 0); err != nil {
			return err
		}
	}
	return nil
}
