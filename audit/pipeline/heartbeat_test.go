package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
)

// heartbeat is one as it is read.
type heartbeat struct {
	Action   string
	Metadata struct {
		Size   uint64
		Peers  map[string]uint64
		Failed bool `json:"peers_failed"`
	}
}

func heartbeatOf(t *testing.T, text []byte) (h heartbeat, ok bool) {
	t.Helper()
	if err := json.Unmarshal(text, &h); err != nil {
		t.Fatal(err)
	}
	return h, h.Action == "heartbeat"
}

func TestHeartbeatsNameTheOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cfg.Heartbeat = time.Minute
		p := w.start()
		first := w.dir
		w.dir = filepath.Join(t.TempDir(), "second")
		w.cfg.Name, w.cfg.Heartbeat = "gw-1", 1000*time.Hour
		other := w.start()
		other.settle()
		time.Sleep(2*time.Minute + time.Second)
		for range 10 {
			other.append(audit.Synced)
		}
		other.settle()
		time.Sleep(2 * time.Minute)
		w.store.set(away)
		time.Sleep(time.Minute)
		w.store.set(nil)
		p.settle()
		p.stop()
		other.stop()
		w.dir = first

		logs := w.verify()
		if len(logs) != 2 {
			t.Fatalf("%d logs, want 2", len(logs))
		}
		var peers []string
		for _, l := range logs[p.Origin()] {
			if h, ok := heartbeatOf(t, []byte(l.text)); ok {
				peers = append(peers, fmt.Sprintf("%d %v", h.Metadata.Peers[other.id.Writer], h.Metadata.Failed))
				if len(h.Metadata.Peers) > 1 || h.Metadata.Size > l.seq {
					t.Errorf("heartbeat %s", l.text)
				}
			}
		}
		if got, want := fmt.Sprint(peers), "[1 false 0 false 11 false 0 false 0 true]"; got != want {
			t.Errorf("heartbeats saw %s of the other log, want %s", got, want)
		}
	})
}

// strangeSeals puts a file where the seal of each of many logs would be.
func strangeSeals(t *testing.T, w *world, n int, size uint64) {
	t.Helper()
	for i := range n {
		path := filepath.Join(w.store.String(), ledger.SealKey(fmt.Sprintf("peer-%04d", i), size))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// beat makes a heartbeat and returns which peers it names.
func (p *writer) beat(t *testing.T, peers map[string]peer) map[string]uint64 {
	t.Helper()
	at := p.journal.Next()
	if err := p.heartbeat(t.Context(), peers); err != nil {
		t.Fatal(err)
	}
	var found map[string]uint64
	err := p.journal.Read(at, 1, func(_ uint64, class audit.Class, line []byte) bool {
		h, ok := heartbeatOf(t, line)
		if !ok || class&audit.Reserve == 0 {
			t.Errorf("class %d: %s", class, line)
		}
		found = h.Metadata.Peers
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// All logs get their turn, however many grow.
func TestHeartbeatsNameManyLogs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		const all = maxPeers + 100
		peers, named := make(map[string]peer), make(map[string]uint64)
		for beat := range uint64(2) {
			strangeSeals(t, w, all, beat+1)
			time.Sleep(time.Minute)
			found := p.beat(t, peers)
			if len(found) > maxPeers {
				t.Errorf("%d logs in one event", len(found))
			}
			for writer, size := range found {
				named[writer] = size
				if size != beat+1 {
					t.Errorf("%s has %d events, not %d", writer, beat+1, size)
				}
			}
		}
		if len(named) != all {
			t.Errorf("%d logs were named, want %d", len(named), all)
		}
	})
}

// refusing is a journal that takes nothing.
type refusing struct{ Journal }

var errRefused = errors.New("refused")

func (refusing) Append([]byte, audit.Class) error { return errRefused }

// What a heartbeat couldn't say the next one says.
func TestHeartbeatThatIsNotRecorded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		strangeSeals(t, w, 1, 7)
		peers := make(map[string]peer)
		kept := p.Pipeline.journal
		p.Pipeline.journal = refusing{kept}
		if err := p.heartbeat(t.Context(), peers); !errors.Is(err, errRefused) {
			t.Errorf("heartbeat returns %v", err)
		}
		p.Pipeline.journal = kept
		if got := p.beat(t, peers); got["peer-0000"] != 7 {
			t.Errorf("names %v", got)
		}
		if got := p.beat(t, peers); len(got) != 0 {
			t.Errorf("names %v again", got)
		}
	})
}

// manySeals is an archive with the seals of a peer, at irregular sizes. It counts
// the pages that are listed, and may stop answering after some.
type manySeals struct {
	archive.Store
	n           int
	pages, most int // most 0: no end
}

// size is that of a seal.
func (s *manySeals) size(i int) uint64 { return uint64(16*i + i*i%16 + 1) }

func (s *manySeals) Folders(context.Context, string) ([]string, error) { return []string{"peer"}, nil }

func (s *manySeals) Versions(_ context.Context, _, after string) iter.Seq2[archive.Version, error] {
	first := sort.Search(s.n, func(i int) bool { return ledger.SealKey("peer", s.size(i)) > after })
	return func(yield func(archive.Version, error) bool) {
		for i := first; i == first || i < s.n; i++ {
			if (i-first)%sealPage == 0 {
				s.pages++
			}
			if s.most > 0 && s.pages > s.most {
				yield(archive.Version{}, errAway)
				return
			}
			if i == s.n || !yield(archive.Version{Key: ledger.SealKey("peer", s.size(i))}, nil) {
				return
			}
		}
	}
}

// The newest of many seals is found without listing them all, and what was found
// before the archive stopped answering isn't lost.
func TestHeartbeatFindsNewestSeal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		const pages = 43 // a day
		for _, n := range []int{1, 2, 999, 1000, 1001, 2000, pages * 1000, pages*1000 + 1} {
			newest := (&manySeals{}).size(n - 1)
			for _, known := range []uint64{0, newest / 3, newest - 1, newest} {
				store := &manySeals{n: n}
				p.store = store
				if got, err := p.peerSize(t.Context(), "peer", known); got != newest || err != nil || store.pages > 14 {
					t.Errorf("%d seals, from %d: newest is %d, %v, with %d pages; want %d", n, known, got, err, store.pages, newest)
				}
			}
		}
		store := &manySeals{n: pages * sealPage, most: 2}
		p.store = store
		peers := make(map[string]peer)
		if err := p.heartbeat(t.Context(), peers); !errors.Is(err, errAway) {
			t.Fatalf("heartbeat returns %v", err)
		}
		newest, seen := store.size(store.n-1), peers["peer"].size
		if seen == 0 || seen >= newest {
			t.Errorf("known are %d of %d events", seen, newest)
		}
		store.most = 0
		if got := p.beat(t, peers); got["peer"] != newest {
			t.Errorf("names %v, want %d", got, newest)
		}
	})
}

// A log that has been quiet for long is still looked at, if more rarely.
func TestHeartbeatsLookAtQuietLogs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p, err := w.open()
		if err != nil {
			t.Fatal(err)
		}
		strangeSeals(t, w, 1, 7)
		peers := make(map[string]peer)
		p.beat(t, peers)
		time.Sleep(quiet + 31*time.Minute)
		p.beat(t, peers)
		strangeSeals(t, w, 1, 8)
		time.Sleep(7 * time.Minute)
		if got := p.beat(t, peers); len(got) != 0 {
			t.Errorf("looked at a quiet log again after minutes: %v", got)
		}
		time.Sleep(quietly)
		if got := p.beat(t, peers); got["peer-0000"] != 8 {
			t.Errorf("names %v", got)
		}
	})
}
