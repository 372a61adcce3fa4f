package pipeline

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

var errAway = errors.New("the archive is away")

// faultyStore is the archive as it is seen over a network: it may be away, hang, or
// do what it reports as failed. It fails the test when what is sent again differs.
type faultyStore struct {
	archive.Store
	t    testing.TB
	worm bool
	fast bool // it checks nothing

	mu     sync.Mutex                                  // guards what follows
	before func(ctx context.Context, key string) error // of each call; nil: nothing
	after  func(key string) error                      // of each Put that was done
	locked error                                       // what Check returns
	held   map[string][]byte                           // what was tried to be put
	puts   int
}

func (s *faultyStore) set(before func(ctx context.Context, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// away fails every call.
func away(context.Context, string) error { return errAway }

// hang answers no call.
func hang(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *faultyStore) call(ctx context.Context, key string) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, key)
}

func (s *faultyStore) Put(ctx context.Context, o archive.Object) error {
	if s.fast {
		return s.Store.Put(ctx, o)
	}
	s.mu.Lock()
	if held, ok := s.held[o.Key]; ok && !bytes.Equal(held, o.Body) {
		s.t.Errorf("%s was sent again with other bytes", o.Key)
	}
	s.held[o.Key] = o.Body
	s.mu.Unlock()
	if err := s.call(ctx, o.Key); err != nil {
		return err
	}
	if strings.HasPrefix(o.Key, ledger.SealPrefix) {
		s.coversOnlyWhatIsThere(ctx, o)
	}
	if err := s.Store.Put(ctx, o); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts++
	if s.after != nil {
		return s.after(o.Key)
	}
	return nil
}

// coversOnlyWhatIsThere holds a seal to its promise: what it covers is archived.
func (s *faultyStore) coversOnlyWhatIsThere(ctx context.Context, o archive.Object) {
	seal, err := ledger.ReadSeal(o.Body)
	if err != nil {
		s.t.Error(err)
		return
	}
	codec, err := ledger.NewCodec()
	if err != nil {
		s.t.Error(err)
		return
	}
	defer codec.Close()
	leaves, err := archive.Leaves(ctx, s.Store, codec, seal)
	if err != nil {
		s.t.Errorf("%s before what it covers: %v", o.Key, err)
		return
	}
	for _, at := range seal.Singles {
		key, err := ledger.EventKey(ledger.LeafID(leaves[at]))
		if err == nil {
			_, err = s.Store.Get(ctx, key, "")
		}
		if err != nil {
			s.t.Errorf("%s before a single event: %v", o.Key, err)
		}
	}
}

func (s *faultyStore) Get(ctx context.Context, key, version string) ([]byte, error) {
	if err := s.call(ctx, key); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, key, version)
}

func (s *faultyStore) Versions(ctx context.Context, prefix, after string) iter.Seq2[archive.Version, error] {
	return func(yield func(archive.Version, error) bool) {
		if err := s.call(ctx, prefix); err != nil {
			yield(archive.Version{}, err)
			return
		}
		s.Store.Versions(ctx, prefix, after)(yield)
	}
}

func (s *faultyStore) Folders(ctx context.Context, prefix string) ([]string, error) {
	if err := s.call(ctx, prefix); err != nil {
		return nil, err
	}
	return s.Store.Folders(ctx, prefix)
}

func (s *faultyStore) WORM() bool { return s.worm }

func (s *faultyStore) Check(ctx context.Context) error {
	if err := s.call(ctx, ""); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked
}
