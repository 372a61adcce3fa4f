// Package archive keeps objects that nobody may change: in S3 with Object Lock,
// or in a local folder with the same layout, which can't prevent it.
package archive

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors that callers tell apart.
var (
	// ErrNotFound: there is no object, or no such version of it.
	ErrNotFound = errors.New("no such object")
	// ErrConflict: the key holds other bytes already. They were not touched.
	ErrConflict = errors.New("the key holds another object")
	// ErrNotLocked: the bucket or the object is not protected as it should be.
	ErrNotLocked = errors.New("not locked")
)

// Object is what is written, once.
type Object struct {
	Key         string
	Body        []byte
	ContentType string
	Metadata    map[string]string // lower-case names
}

// Version is one entry of a listing.
type Version struct {
	Key          string
	ID           string // empty where the store keeps no versions
	Size         int64
	Modified     time.Time
	Latest       bool
	DeleteMarker bool
}

// Lock is how a version is protected.
type Lock struct {
	Mode        string // "GOVERNANCE" or "COMPLIANCE"
	RetainUntil time.Time
	LegalHold   bool
}

// Store is an archive. All methods are safe for concurrent use.
type Store interface {
	// Put creates the object, locked where the store can. If the key already
	// holds the same bytes that is a success; if it holds others: ErrConflict.
	Put(ctx context.Context, object Object) error
	// Get returns the bytes of a version as they are, which may not be those that
	// were put; of the current one if version is empty.
	// It refuses objects of more than MaxObject bytes.
	Get(ctx context.Context, key, version string) ([]byte, error)
	// Versions lists every version and delete marker of the keys that begin with
	// prefix and sort after the key after, in the order of keys.
	Versions(ctx context.Context, prefix, after string) iter.Seq2[Version, error]
	// Folders lists the distinct continuations of prefix up to the next "/",
	// without prefix and slash, sorted.
	Folders(ctx context.Context, prefix string) ([]string, error)
	// Lock returns how a version is protected; ErrNotLocked if it isn't, and for
	// every version of a store that can't.
	Lock(ctx context.Context, key, version string) (Lock, error)
	// Check reads back whether the store protects what is written: the bucket's
	// configuration, and the retention of an object that it writes. ErrNotLocked
	// if not; any other error says that it couldn't find out.
	Check(ctx context.Context) error
	// WORM reports whether the store can protect objects at all.
	WORM() bool
	// String names the store for people: "s3://bucket" or a path.
	String() string
}

// MaxObject bounds what Get reads: 64 MiB, well over the largest batch.
const MaxObject = 64 << 20
