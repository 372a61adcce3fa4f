package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
)

// shelf is an archive in memory, with versions and locks, that lets a test do what
// whoever has the disks under an archive can do.
type shelf struct {
	worm bool
	fail func(op, key string) error // what a call does instead; nil: nothing

	mu      sync.Mutex // guards what follows
	objects map[string][]stored
	sorted  []string // keys; nil: not known
	sizes   map[string]int64
	next    int
}

// stored is a version, the newest first.
type stored struct {
	archive.Version
	body []byte
	lock archive.Lock
}

func newShelf() *shelf {
	return &shelf{objects: make(map[string][]stored), sizes: make(map[string]int64)}
}

// put replaces all that is under the key.
func (s *shelf) put(key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	s.version(key, body, false)
}

// over puts another version over what is under the key; nil: a delete marker.
func (s *shelf) over(key string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version(key, body, body == nil)
}

func (s *shelf) version(key string, body []byte, marker bool) {
	s.next++
	v := stored{
		Version: archive.Version{
			Key: key, ID: fmt.Sprintf("v%d", s.next), Size: int64(len(body)), DeleteMarker: marker,
			Modified: began.Add(time.Duration(s.next) * time.Millisecond),
		},
		body: body, lock: archive.Lock{Mode: "COMPLIANCE", RetainUntil: began.AddDate(1, 0, 0)},
	}
	s.objects[key] = append([]stored{v}, s.objects[key]...)
	s.sorted = nil
}

func (s *shelf) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	s.sorted = nil
}

// get is the current body of an object that is there.
func (s *shelf) get(t testing.TB, key string) []byte {
	t.Helper()
	body, err := s.Get(t.Context(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(body)
}

// flip changes one bit in the middle of an object.
func (s *shelf) flip(t testing.TB, key string) {
	t.Helper()
	body := s.get(t, key)
	body[len(body)/2] ^= 1
	s.put(key, body)
}

// swell makes an object larger than any that is read.
func (s *shelf) swell(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes[key] = archive.MaxObject + 1
}

func (s *shelf) failure(op, key string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(op, key)
}

func (s *shelf) Get(ctx context.Context, key, version string) ([]byte, error) {
	if err := errors.Join(ctx.Err(), s.failure("get", key)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sizes[key] > archive.MaxObject {
		return nil, fmt.Errorf("%s: larger than %d bytes", key, archive.MaxObject)
	}
	for _, v := range s.objects[key] {
		if version == "" && v.DeleteMarker {
			break
		}
		if version == "" || v.ID == version {
			return v.body, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", archive.ErrNotFound, key)
}

func (s *shelf) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted == nil {
		s.sorted = slices.Sorted(maps.Keys(s.objects))
	}
	return s.sorted
}

func (s *shelf) Versions(ctx context.Context, prefix, after string) iter.Seq2[archive.Version, error] {
	return func(yield func(archive.Version, error) bool) {
		if err := errors.Join(ctx.Err(), s.failure("list", prefix)); err != nil {
			yield(archive.Version{}, err)
			return
		}
		keys := s.keys()
		from, _ := slices.BinarySearch(keys, max(prefix, after))
		for _, key := range keys[from:] {
			if !strings.HasPrefix(key, prefix) {
				return
			}
			if key <= after {
				continue
			}
			for _, v := range s.versionsOf(key) {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

func (s *shelf) versionsOf(key string) (versions []archive.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range s.objects[key] {
		v.Latest = i == 0
		v.Size = max(v.Size, s.sizes[key])
		versions = append(versions, v.Version)
	}
	return versions
}

func (s *shelf) Folders(_ context.Context, prefix string) (names []string, err error) {
	if err := s.failure("folders", prefix); err != nil {
		return nil, err
	}
	for _, key := range s.keys() {
		rest, ok := strings.CutPrefix(key, prefix)
		name, _, below := strings.Cut(rest, "/")
		if ok && below && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (s *shelf) Lock(_ context.Context, key, version string) (archive.Lock, error) {
	if err := s.failure("lock", key); err != nil {
		return archive.Lock{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.objects[key] {
		if v.ID == version && v.lock.Mode != "" {
			return v.lock, nil
		}
	}
	return archive.Lock{}, archive.ErrNotLocked
}

// relock changes how the versions of an object are protected.
func (s *shelf) relock(key string, lock archive.Lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.objects[key] {
		s.objects[key][i].lock = lock
	}
}

func (s *shelf) Put(context.Context, archive.Object) error {
	return errors.New("verifying writes nothing")
}

func (s *shelf) Check(context.Context) error { return errors.New("verifying writes nothing") }

func (s *shelf) WORM() bool { return s.worm }

func (s *shelf) String() string { return "shelf" }
