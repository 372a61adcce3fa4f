package verify

import (
	"context"
	"iter"
	"strings"
)

// stray reports an object that lies where neither a seal nor a day's object can.
func stray(key string) Finding {
	return remark(Tampered, CheckExtra, "", key, "no object can lie here")
}

// verifyStrays reports what lies beside the years and beside the logs. It belongs
// to no day, so that only a run without a limit looks for it.
func (r *run) verifyStrays(ctx context.Context) error {
	if !r.period.from.IsZero() || !r.period.to.IsZero() {
		return nil
	}
	for _, folder := range []string{prefix, sealPrefix} {
		for o := range ordered(ctx, readsAtOnce, r.beside(ctx, folder), r.listed) {
			if o.err != nil {
				return o.err
			}
			r.report.Objects++
			r.report.add(o.findings...)
			if len(o.versions) > 0 {
				r.report.add(stray(o.key))
			}
		}
	}
	return ctx.Err()
}

// beside yields the objects that lie in a folder itself. It skips the folders in it
// without listing them.
func (r *run) beside(ctx context.Context, folder string) iter.Seq[*listed] {
	return func(yield func(*listed) bool) {
		after, more := "", true
		for more {
			more = false
			for e, err := range entries(ctx, r.store, folder, after) {
				if name, _, below := strings.Cut(strings.TrimPrefix(e.key, folder), "/"); err == nil && below {
					if end := folder + name + "/\U0010FFFF"; end > after {
						after, more = end, true
						break
					}
					continue // a name that sorts last
				}
				if !yield(&listed{entry: e, err: err}) || err != nil {
					return
				}
			}
		}
	}
}
