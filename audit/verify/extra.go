package verify

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

const (
	prefix     = ledger.Prefix
	sealPrefix = ledger.SealPrefix
)

// whereabouts are the events that an object holds, by its name or its content.
type whereabouts struct {
	known    bool
	log      string // origin, or the writer where only that is known
	writer   string
	from, to uint64 // both included
	leaf     []byte // of a single event
}

var batchName = regexp.MustCompile(`^batch-([A-Za-z0-9][A-Za-z0-9.-]{0,63})-([0-9a-f]{16})-([0-9]{1,6})\.ndjson\.zst$`)

// whereabouts finds them out.
func (r *run) whereabouts(ctx context.Context, e entry) (at whereabouts, err error) {
	name := e.key[strings.LastIndexByte(e.key, '/')+1:]
	if m := batchName.FindStringSubmatch(name); m != nil {
		first, firstErr := strconv.ParseUint(m[2], 16, 63)
		count, countErr := strconv.ParseUint(m[3], 10, 32)
		ok := firstErr == nil && countErr == nil && count > 0
		return whereabouts{known: ok, log: r.originOf(m[1]), writer: m[1], from: first, to: first + max(count, 1) - 1}, nil
	}
	if len(e.versions) == 0 || !strings.HasSuffix(name, ".json") {
		return at, nil
	}
	leaf, err := r.store.Get(ctx, e.key, e.original().ID)
	if err != nil && !r.absent(ctx, e.key, err) {
		return at, fmt.Errorf("%s: %w", e.key, err)
	}
	origin, seq, ok := ledger.Place(leaf)
	return whereabouts{known: ok, log: origin, writer: ledger.Writer(origin), from: seq, to: seq, leaf: leaf}, nil
}

// originOf is the origin of a writer's log, as far as it is known.
func (r *run) originOf(writer string) string {
	if c := r.logs[writer]; c != nil && c.origin != "" {
		return c.origin
	}
	return writer
}

// extra reports an object that no seal promises.
func (r *run) extra(ctx context.Context, e entry) ([]Finding, error) {
	at, err := r.whereabouts(ctx, e)
	if err != nil {
		return nil, err
	}
	if at.known && r.recent(e.original().Modified) && r.expected(at) {
		return nil, nil // its seal may come any moment
	}
	if !at.known {
		return []Finding{remark(Tampered, CheckExtra, "", e.key, "no seal promises this object, and it doesn't say what it is")}, nil
	}
	seal, err := nextSeal(ctx, r.store, at.writer, at.to+1)
	if err != nil || seal != nil && at.promisedBy(seal.Seal, e.key) {
		return nil, err
	}
	c := r.logs[at.writer]
	switch {
	case c == nil:
		return []Finding{finding(Tampered, CheckExtra, at.log, e.key, at.from, at.to, "no seal promises this object: the log has none at all")}, nil
	case seal == nil && at.from >= c.end:
		return []Finding{finding(Incomplete, CheckExtra, at.log, e.key, at.from, at.to,
			"no seal promises this object yet: the log's seals end at %d", c.end)}, nil
	case at.leaf != nil && slices.ContainsFunc(c.missing, func(s span) bool { return s.from <= at.from && at.to < s.to }):
		return nil, nil // that their seal is missing is reported
	}
	missing := ""
	if at.leaf == nil {
		missing = "; " + ledger.SealKey(at.writer, at.to+1) + " would have to"
	}
	return []Finding{finding(Tampered, CheckExtra, at.log, e.key, at.from, at.to, "no seal promises this object%s", missing)}, nil
}

// recent reports whether it was a moment ago: neither before nor in the future.
func (r *run) recent(t time.Time) bool {
	age := r.report.Started.Sub(t)
	return -underWay < age && age < underWay
}

// expected reports whether the next seal of the log can be the object's: it begins
// where the seals end, and a single event has an id of now. That it was written a
// moment ago is only what the store says, and of a copy always true.
func (r *run) expected(at whereabouts) bool {
	if c := r.logs[at.writer]; c != nil && at.from < c.end {
		return false
	}
	if at.leaf == nil {
		return true
	}
	t, err := ledger.IDTime(ledger.LeafID(at.leaf))
	return err == nil && r.recent(t)
}

// promisedBy reports whether the seal covers the object.
func (at whereabouts) promisedBy(s *ledger.Seal, key string) bool {
	if at.leaf == nil {
		return s.Batch != nil && s.Batch.Key == key && s.First == at.from
	}
	if at.from < s.First || s.Origin != at.log {
		return false
	}
	offset := int(at.from - s.First) //nolint:gosec // a seal covers few
	want := ledger.LeafID(at.leaf)
	if s.Batch == nil {
		want = s.ID(offset)
	} else if _, single := slices.BinarySearch(s.Singles, offset); !single {
		return false
	}
	wantKey, err := ledger.EventKey(want)
	return err == nil && wantKey == key && s.Marked(offset, ledger.LeafHash(at.leaf))
}
