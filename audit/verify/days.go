package verify

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/audit/archive"
)

// days compare what the folders of days hold with what seals promise, without
// remembering either: of each day there are sums over the hashes of keys, in
// buckets. Only where the sums differ the keys themselves are looked at.
type days struct {
	seed maphash.Seed

	mu   sync.Mutex // guards sums
	sums map[string]*[buckets]bucket
}

const buckets = 256

// bucket sums up the keys of one day whose hashes end alike.
type bucket struct {
	promised, listed int64
	difference       uint64 // of the sums of hashes
}

func newDays() *days {
	return &days{seed: maphash.MakeSeed(), sums: make(map[string]*[buckets]bucket)}
}

// promise says that a seal wants the key to be there.
func (d *days) promise(key string) {
	d.change(key, func(b *bucket, h uint64) { b.promised++; b.difference += h })
}

// withdraw takes a promise back: that the key is missing is reported already.
func (d *days) withdraw(key string) {
	d.change(key, func(b *bucket, h uint64) { b.promised--; b.difference -= h })
}

// list says that the key is there.
func (d *days) list(key string) {
	d.change(key, func(b *bucket, h uint64) { b.listed++; b.difference -= h })
}

func (d *days) change(key string, by func(b *bucket, hash uint64)) {
	h := maphash.String(d.seed, key)
	d.mu.Lock()
	defer d.mu.Unlock()
	day := dayOf(key)
	if d.sums[day] == nil {
		d.sums[day] = new([buckets]bucket)
	}
	by(&d.sums[day][h%buckets], h)
}

// bucket is the key's.
func (d *days) bucket(key string) bucket {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sums[dayOf(key)][maphash.String(d.seed, key)%buckets]
}

func (b bucket) differs() bool { return b.promised != b.listed || b.difference != 0 }

// listed is an object of a day, with what is wrong with its versions.
type listed struct {
	entry
	findings []Finding
	err      error
}

// verifyDays lists the folders of all days, or of those of the period.
func (r *run) verifyDays(ctx context.Context) error {
	folders, err := r.dayFolders(ctx)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, folder := range folders {
		today := ""
		for o := range ordered(ctx, readsAtOnce, r.listing(ctx, folder), r.listed) {
			if o.err != nil {
				return o.err
			}
			r.report.Objects++
			r.report.add(o.findings...)
			if len(o.versions) == 0 {
				continue
			}
			d := dayOf(o.key)
			if d == "" {
				r.report.add(stray(o.key))
				continue
			}
			if d != today {
				if err := r.closeDay(ctx, today); err != nil {
					return err
				}
				today, seen[d] = d, true
			}
			r.days.list(o.key)
		}
		if err := r.closeDay(ctx, today); err != nil {
			return err
		}
	}
	for _, d := range slices.Sorted(maps.Keys(r.days.sums)) {
		if !seen[d] && r.period.has(d) {
			r.missingOf(d)
		}
	}
	return ctx.Err()
}

// dayFolders are the years, and whatever else lies beside the seals.
func (r *run) dayFolders(ctx context.Context) ([]string, error) {
	all, err := r.store.Folders(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	return slices.DeleteFunc(all, func(name string) bool { return prefix+name+"/" == sealPrefix }), nil
}

// listing yields the objects of a year that are of the period.
func (r *run) listing(ctx context.Context, folder string) iter.Seq[*listed] {
	after := ""
	if first := r.period.firstDay(); first > prefix+folder {
		after = first
	}
	return func(yield func(*listed) bool) {
		for e, err := range entries(ctx, r.store, prefix+folder+"/", after) {
			if err == nil && r.period.after(e.key) {
				return
			}
			if strings.HasPrefix(e.key, archive.CanaryPrefix) {
				continue // no part of the trail, and locked for a day only
			}
			if !yield(&listed{entry: e, err: err}) || err != nil {
				return
			}
		}
	}
}

// listed looks at the versions of an object.
func (r *run) listed(ctx context.Context, o *listed) *listed {
	if o.err != nil {
		return o
	}
	if o.findings, o.err = r.versions(ctx, "", o.entry, 0, 0); o.err != nil {
		return o
	}
	locked, err := r.locked(ctx, "", o.entry, 0, 0)
	if o.err = err; err != nil {
		return o
	}
	o.findings = append(o.findings, locked...)
	if len(o.findings) == 0 {
		return o
	}
	at, err := r.whereabouts(ctx, o.entry)
	if err != nil {
		o.err = err
		return o
	}
	for i, f := range o.findings {
		if !at.known {
			o.findings[i] = remark(f.Severity, f.Check, "", o.key, "%s", f.what)
		} else {
			o.findings[i] = finding(f.Severity, f.Check, at.log, o.key, at.from, at.to, "%s", f.what)
		}
		o.findings[i].Version = f.Version
	}
	return o
}

// closeDay compares a day that was listed with what seals promise.
func (r *run) closeDay(ctx context.Context, day string) error {
	if day == "" || !r.differs(day) {
		return nil
	}
	for e, err := range entries(ctx, r.store, day, "") {
		if err != nil {
			return err
		}
		if len(e.versions) == 0 || !r.days.bucket(e.key).differs() {
			continue
		}
		if r.lookups++; r.lookups > maxLookups {
			r.report.add(remark(Incomplete, CheckExtra, "", day, "there are more objects than can be looked at one by one"))
			return nil
		}
		findings, err := r.extra(ctx, e)
		if err != nil {
			return err
		}
		r.report.add(findings...)
	}
	r.missingOf(day)
	return nil
}

// maxLookups bounds how many objects are looked at one by one.
const maxLookups = 100_000

func (r *run) differs(day string) bool {
	for _, b := range r.days.sums[day] {
		if b.differs() {
			return true
		}
	}
	return false
}

// missingOf reports that objects which were not read, for the sample's sake, aren't
// there.
func (r *run) missingOf(day string) {
	missing := int64(0)
	for _, b := range r.days.sums[day] {
		missing += max(0, b.promised-b.listed)
	}
	if missing > 0 && r.opts.Sample < 1 {
		r.report.add(remark(Tampered, CheckObject, "", day, "at least %d objects that seals promise are missing; a full run, without a sample, names them", missing))
	}
}
