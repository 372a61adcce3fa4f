package verify

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/sallyport/sallyport/audit/ledger"
)

// maxOriginals is how many versions of a batch are tried.
const maxOriginals = 8

// damaged finds out which events of a batch are not as they were sealed, when its
// object isn't. unread says that there is none that could be read.
func (r *run) damaged(ctx context.Context, l *link, body []byte, unread error) ([][]byte, []Finding, error) {
	batch := l.seal.Batch
	report := func(what string, args ...any) Finding {
		return finding(Tampered, CheckBatch, l.log(), batch.Key, l.seal.First, l.size-1, what, args...)
	}
	original, version, err := r.originalOf(ctx, batch)
	if err != nil {
		return nil, nil, err
	}
	if original != nil {
		leaves, err := r.codec.Decode(original, batch.Frames)
		if err == nil && len(leaves) == l.seal.Count() {
			return leaves, []Finding{report("something else lies over it; what was sealed is still there as version %s", version)}, nil
		}
	}
	if unread != nil {
		r.days.withdraw(batch.Key)
		return make([][]byte, l.seal.Count()), []Finding{report("the batch is missing: %v", unread)}, nil
	}
	leaves, findings := r.compareFrames(l, body)
	if len(findings) == 0 {
		findings = []Finding{report("the object is not the one that was sealed, though its events are")}
	}
	return leaves, findings, nil
}

// originalOf looks for a version of the batch that has the sealed bytes; nil: there
// is none.
func (r *run) originalOf(ctx context.Context, batch *ledger.Batch) ([]byte, string, error) {
	e, err := lookUp(ctx, r.store, batch.Key)
	if err != nil {
		return nil, "", err
	}
	for i, v := range e.versions {
		if i == maxOriginals {
			break
		}
		body, err := r.store.Get(ctx, v.Key, v.ID)
		if err != nil && !r.absent(ctx, v.Key, err) {
			return nil, "", fmt.Errorf("%s: %w", v.Key, err)
		}
		if err == nil && sha256.Sum256(body) == batch.SHA256 {
			return body, v.ID, nil
		}
	}
	return nil, "", nil
}

// compareFrames reads what can be read of a batch that was changed, and names the
// events that can't, or that differ.
func (r *run) compareFrames(l *link, body []byte) (leaves [][]byte, findings []Finding) {
	count := l.seal.Count()
	leaves = make([][]byte, count)
	if all, err := r.codec.DecodeAll(body); err == nil { // whole, but made anew
		copy(leaves, all)
		findings = l.compareMarks(leaves, 0, count)
		if len(all) > count {
			findings = append(findings, finding(Tampered, CheckBatch, l.log(), l.seal.Batch.Key, l.seal.First, l.size-1, "it holds %d events instead of %d", len(all), count))
		}
		return leaves, findings
	}
	for i, size := range l.seal.Batch.Frames {
		from := i * ledger.FrameEvents
		to := min(from+ledger.FrameEvents, count)
		frame := body[:max(0, min(size, len(body)))]
		body = body[len(frame):]
		found, err := r.codec.Decode(frame, []int{len(frame)})
		if err != nil {
			findings = append(findings, finding(Tampered, CheckBatch, l.log(), l.seal.Batch.Key, l.seq(from), l.seq(to-1), "they can't be read: %v", err))
			continue
		}
		copy(leaves[from:to], found)
		findings = append(findings, l.compareMarks(leaves, from, to)...)
	}
	return leaves, findings
}

// compareMarks reports the leaves within the offsets that aren't the sealed ones,
// and makes them nil.
func (l *link) compareMarks(leaves [][]byte, from, to int) (findings []Finding) {
	start := -1 // of a run of differences
	for i := from; i <= to; i++ {
		differs := i < to && (leaves[i] == nil || !l.seal.Marked(i, ledger.LeafHash(leaves[i])))
		if differs {
			leaves[i] = nil
		}
		if differs && start < 0 {
			start = i
		}
		if !differs && start >= 0 {
			findings = append(findings, l.changed(start, i-1))
			start = -1
		}
	}
	return findings
}
