package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// opened is a seal as it was read. Its signature isn't verified.
type opened struct {
	entry
	stray    bool // it doesn't lie where a seal can be
	size     uint64
	signed   []byte
	others   [][]byte     // what other versions say
	seal     *ledger.Seal // nil: it isn't one
	invalid  error        // why not
	findings []Finding
	err      error // the store's
}

func (o *opened) log() string {
	if o.seal == nil {
		return ""
	}
	return o.seal.Origin
}

// first is the sequence number of the seal's first event, as far as it is known.
func (o *opened) first() uint64 {
	if o.seal == nil {
		return o.size - 1
	}
	return o.seal.First
}

// open reads the seal that the writer wrote: the oldest version.
func (r *run) open(ctx context.Context, e entry) *opened {
	o := &opened{entry: e}
	writer, size, err := ledger.ParseSealKey(e.key)
	if err != nil || size == 0 {
		o.stray = true
		o.findings = append(o.findings, remark(Tampered, CheckExtra, "", e.key, "no seal can lie here"))
		return o
	}
	o.size = size
	if o.err = r.readSeal(ctx, o, writer); o.err != nil {
		return o
	}
	if o.findings, o.err = r.versions(ctx, o.log(), e, o.first(), o.size-1); o.err != nil {
		return o
	}
	locked, err := r.locked(ctx, o.log(), e, o.first(), o.size-1)
	o.findings, o.err = append(o.findings, locked...), err
	return o
}

func (r *run) readSeal(ctx context.Context, o *opened, writer string) error {
	o.invalid = errors.New("it was deleted")
	if len(o.versions) == 0 {
		return nil
	}
	original := o.original()
	for _, v := range o.versions {
		signed, err := r.store.Get(ctx, o.key, v.ID)
		if err != nil {
			if !r.absent(ctx, o.key, err) {
				return fmt.Errorf("%s: %w", o.key, err)
			}
			o.invalid = err
			continue
		}
		if v != original && !bytes.Equal(signed, o.signed) {
			o.others = append(o.others, signed)
		}
		if v == original {
			o.signed = signed
		}
	}
	if o.signed == nil {
		return nil
	}
	o.seal, o.invalid = ledger.ReadSeal(o.signed)
	if o.seal != nil && (o.seal.Size != o.size || ledger.Writer(o.seal.Origin) != writer) {
		o.invalid = fmt.Errorf("it is the one of %s at size %d", o.seal.Origin, o.seal.Size)
		o.seal = nil
	}
	return nil
}

// absent reports whether the error says that there is nothing that can be read,
// now or later: no object, or one far larger than any of ours.
func (r *run) absent(ctx context.Context, key string, err error) bool {
	if errors.Is(err, archive.ErrNotFound) {
		return true
	}
	e, listErr := lookUp(ctx, r.store, key)
	if listErr != nil {
		return false
	}
	for _, v := range e.versions {
		if v.Size > archive.MaxObject {
			return true
		}
	}
	return false
}

// versions reports what lies over the one version that there should be.
func (r *run) versions(ctx context.Context, log string, e entry, from, to uint64) (findings []Finding, err error) {
	add := func(severity Severity, id, what string, args ...any) {
		f := finding(severity, CheckVersion, log, e.key, from, to, what, args...)
		f.Version = id
		findings = append(findings, f)
	}
	for _, v := range e.markers {
		add(Tampered, v.ID, "a delete marker (version %s) hides it", v.ID)
	}
	if len(e.versions) < 2 {
		return findings, nil
	}
	original := e.original()
	first, err := r.bytesOf(ctx, original)
	if err != nil {
		return nil, err
	}
	for _, v := range e.versions {
		if v == original {
			continue
		}
		body, err := r.bytesOf(ctx, v)
		if err != nil {
			return nil, err
		}
		if first != nil && bytes.Equal(body, first) {
			add(Warning, v.ID, "it was written a second time (version %s), with the same bytes", v.ID)
		} else {
			add(Tampered, v.ID, "a second version (%s) lies over the first (%s)", v.ID, original.ID)
		}
	}
	return findings, nil
}

// bytesOf is a version's content; nil: it can't be read, now or later.
func (r *run) bytesOf(ctx context.Context, v archive.Version) ([]byte, error) {
	body, err := r.store.Get(ctx, v.Key, v.ID)
	switch {
	case err == nil:
		return append([]byte{}, body...), nil
	case r.absent(ctx, v.Key, err):
		return nil, nil
	}
	return nil, fmt.Errorf("%s: %w", v.Key, err)
}
