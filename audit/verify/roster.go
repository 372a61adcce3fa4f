package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/sallyport/sallyport/audit/ledger"
)

// verifyRoster finds logs, and ends of logs, that others know of.
func (r *run) verifyRoster(ctx context.Context) error {
	for _, writer := range slices.Sorted(slices.Values(r.opts.Expect)) {
		if r.logs[writer] == nil {
			r.report.add(remark(Tampered, CheckRoster, writer, "", "there is no log of this writer, which is expected"))
		}
	}
	for _, writer := range slices.Sorted(maps.Keys(r.mentions)) {
		if err := r.mentioned(ctx, writer, r.mentions[writer]); err != nil {
			return err
		}
	}
	for _, signed := range r.opts.Trusted {
		if err := r.anchored(ctx, signed); err != nil {
			return err
		}
	}
	return nil
}

// reaches returns up to where the writer's log is sealed, and whether it is at
// least the size. Of what lies after the period only the seal's being there counts.
func (r *run) reaches(ctx context.Context, writer string, size uint64) (end uint64, ok bool, err error) {
	c := r.logs[writer]
	if c == nil {
		return 0, false, nil
	}
	if c.end >= size || r.period.to.IsZero() {
		return c.end, c.end >= size, nil
	}
	seal, err := nextSeal(ctx, r.store, writer, size)
	return c.end, seal != nil, err
}

// mentioned looks for what a heartbeat of another log saw.
func (r *run) mentioned(ctx context.Context, writer string, m mention) error {
	end, ok, err := r.reaches(ctx, writer, m.size)
	if ok || err != nil {
		return err
	}
	r.report.add(finding(Tampered, CheckRoster, r.originOf(writer), ledger.SealKey(writer, m.size), end, m.size-1,
		"they are missing from the log of %s: event %d of %s saw it at size %d", writer, m.seq, m.log, m.size))
	return nil
}

// anchored compares the archive with a seal that somebody kept elsewhere.
func (r *run) anchored(ctx context.Context, signed []byte) error {
	kept, err := ledger.ReadSeal(signed)
	if err != nil {
		r.report.add(remark(Incomplete, CheckAnchor, "", "", "a checkpoint that was kept can't be used: %v", err))
		return nil
	}
	writer := ledger.Writer(kept.Origin)
	key := ledger.SealKey(writer, kept.Size)
	report := func(s Severity, from uint64, what string, args ...any) {
		r.report.add(finding(s, CheckAnchor, kept.Origin, key, from, kept.Size-1, what, args...))
	}
	c := r.logs[writer]
	if c == nil {
		report(Tampered, 0, "the whole log is missing; a checkpoint of it was kept")
		return nil
	}
	if _, _, err := ledger.OpenSeal(signed, c.ring.known()); err != nil {
		report(Incomplete, kept.First, "the checkpoint that was kept can't be used: %v", err)
		return nil
	}
	seal, err := nextSeal(ctx, r.store, writer, kept.Size)
	if err != nil {
		return fmt.Errorf("log %s: %w", writer, err)
	}
	switch {
	case seal == nil:
		report(Tampered, min(c.end, kept.Size-1), "they are missing: the log's seals end at %d, a checkpoint of %d was kept", c.end, kept.Size)
	case seal.Size != kept.Size:
		report(Tampered, kept.First, "the log has no seal of this size any more, of which a checkpoint was kept")
	case seal.Root != kept.Root || seal.Origin != kept.Origin:
		report(Tampered, kept.First, "the log is another one than that of which a checkpoint was kept")
	}
	return nil
}
