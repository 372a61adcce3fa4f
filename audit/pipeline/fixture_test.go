package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/ledger"
)

// world is a writer's folder, the archive, and the keys. Tests run in a bubble of
// testing/synctest: disk and archive are real, the time between is skipped.
type world struct {
	t      testing.TB
	dir    string
	store  *faultyStore
	keys   []*ledger.Key // all that ever were
	cfg    Config
	bytes  int64 // of the journal at most
	index  Index
	hiding Subjects
	logged *bytes.Buffer

	mu   sync.Mutex // guards what follows
	sent []string   // correlation ids of what was acknowledged
}

// inWorld runs a test in a world of its own.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	folder, err := archive.OpenFolder(filepath.Join(dir, "archive"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, dir: filepath.Join(dir, "audit"), logged: &bytes.Buffer{}, bytes: 64 << 20,
		store: &faultyStore{Store: folder, t: t, held: make(map[string][]byte)},
		cfg:   Config{Origin: "audit.example.com", Name: "gw-0", Layout: ledger.LayoutHybrid, BatchEvents: 100, Heartbeat: 1000 * time.Hour, Version: "test"},
	}
	w.cfg.Keys = []*ledger.Key{w.newKey()}
	return w
}

func (w *world) newKey() *ledger.Key {
	w.t.Helper()
	key, _, err := ledger.GenerateKey("audit.example.com")
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys = append(w.keys, key)
	return key
}

// writer is a process that writes the log.
type writer struct {
	*Pipeline
	w       *world
	journal *journal.Journal
	cancel  context.CancelFunc
	ended   chan error
	stopped bool
}

// open opens what a process opens when it starts.
func (w *world) open() (*writer, error) {
	var p *Pipeline
	log := slog.New(slog.NewTextHandler(w.logged, nil))
	j, err := journal.Open(journal.Config{Dir: filepath.Join(w.dir, "journal"), MaxBytes: w.bytes, Extra: func() int64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		if p == nil {
			return 0
		}
		return p.OutboxBytes()
	}}, log, time.Now)
	if err != nil {
		return nil, err
	}
	cfg := w.cfg
	cfg.Dir = w.dir
	opened, err := Open(cfg, j, w.store, w.index, w.hiding, log, time.Now)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	w.mu.Lock()
	p = opened
	w.mu.Unlock()
	started := &writer{Pipeline: opened, w: w, journal: j}
	w.t.Cleanup(started.stop)
	return started, nil
}

// start opens a writer that must open, and runs it.
func (w *world) start() *writer {
	w.t.Helper()
	p, err := w.open()
	if err != nil {
		w.t.Fatal(err)
	}
	p.run()
	return p
}

func (p *writer) run() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan error, 1)
	go func() { p.ended <- p.Run(ctx) }()
}

// stop ends the writer as a process ends that was told to. A test that fails ends
// its writers, too.
func (p *writer) stop() {
	p.w.t.Helper()
	if p.stopped {
		return
	}
	p.stopped = true
	if p.cancel != nil {
		p.cancel()
		if err := <-p.ended; err != nil {
			p.w.t.Error(err)
		}
	}
	if err := p.journal.Close(); err != nil {
		p.w.t.Error(err)
	}
}

// append records an event that must be taken.
func (p *writer) append(class audit.Class) {
	p.w.t.Helper()
	if err := p.tryAppend(class, ""); err != nil {
		p.w.t.Fatal(err)
	}
}

// tryAppend records an event with more in its metadata.
func (p *writer) tryAppend(class audit.Class, more string) error {
	id := audit.NewID(time.Now())
	line := audit.AppendHead(nil, time.Now(), "decision")
	line = fmt.Appendf(line, `,"correlation_id":"%s","user_id":"alice","status":"allow","metadata":{"reason":"allowed","principal":{"issuer":"corp","subject":"alice"}%s}}`+"\n", id, more)
	if err := p.journal.Append(line, class); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.sent = append(p.w.sent, id)
	return nil
}

// await waits until something is so, in the time of the bubble.
func (p *writer) await(what string, so func(s Status) bool) {
	p.w.t.Helper()
	for range 20 * 3600 {
		if so(p.Status()) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.w.t.Fatalf("not after an hour: %s; %+v\n%s", what, p.Status(), p.w.logged)
}

// settle waits until everything is archived, and indexed if there is an index.
func (p *writer) settle() {
	p.w.t.Helper()
	p.await("everything archived", func(s Status) bool {
		return s.Archived == s.Next && s.Waiting == 0 && (p.index == nil || s.Indexed == s.Next)
	})
}

// leaf is one that was found in the archive.
type leaf struct {
	seq  uint64
	text string
	cut  *ledger.Seal
}

func (l leaf) has(text string) bool { return strings.Contains(l.text, text) }

// verify reads the archive as a stranger would who knows the keys: every seal must
// open, continue the one before, and cover what it says. It returns the leaves of
// each log.
func (w *world) verify() map[string][]leaf {
	w.t.Helper()
	codec, err := ledger.NewCodec()
	if err != nil {
		w.t.Fatal(err)
	}
	defer codec.Close()
	var verifiers []note.Verifier
	for _, k := range w.keys {
		v, err := note.NewVerifier(k.Public)
		if err != nil {
			w.t.Fatal(err)
		}
		verifiers = append(verifiers, v)
	}
	logs := make(map[string][]leaf)
	trees := make(map[string]*ledger.Tree)
	objects := make(map[string]bool)
	for v, err := range w.store.Store.Versions(w.t.Context(), ledger.SealPrefix, "") {
		if err != nil {
			w.t.Fatal(err)
		}
		signed := w.get(v.Key)
		seal, _, err := ledger.OpenSeal([]byte(signed), note.VerifierList(verifiers...))
		if err != nil {
			w.t.Fatalf("%s: %v", v.Key, err)
		}
		if trees[seal.Origin] == nil {
			trees[seal.Origin] = &ledger.Tree{}
		}
		logs[seal.Origin] = append(logs[seal.Origin], w.verifySeal(codec, seal, trees[seal.Origin], v.Key, objects)...)
		objects[v.Key] = true
	}
	for v, err := range w.store.Store.Versions(w.t.Context(), "", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		if !objects[v.Key] {
			w.t.Errorf("no seal speaks of %s", v.Key)
		}
	}
	return logs
}

func (w *world) verifySeal(codec *ledger.Codec, seal *ledger.Seal, tree *ledger.Tree, key string, objects map[string]bool) (found []leaf) {
	w.t.Helper()
	if want := ledger.SealKey(ledger.Writer(seal.Origin), seal.Size); key != want || seal.First != tree.Size() {
		w.t.Fatalf("seal %s is of %s from %d to %d, after %d", key, seal.Origin, seal.First, seal.Size, tree.Size())
	}
	leaves, err := archive.Leaves(w.t.Context(), w.store.Store, codec, seal)
	if err != nil || len(leaves) != seal.Count() {
		w.t.Fatalf("%s: %d leaves, %v", key, len(leaves), err)
	}
	if seal.Batch != nil {
		objects[seal.Batch.Key] = true
	}
	for i, text := range leaves {
		seq := seal.First + uint64(i)
		if origin, at, ok := ledger.Place(text); !ok || origin != seal.Origin || at != seq {
			w.t.Errorf("%s: leaf %d says that it is %d of %s", key, seq, at, origin)
		}
		single, err := ledger.EventKey(ledger.LeafID(text))
		if err != nil {
			w.t.Fatal(err)
		}
		if slices.Contains(seal.Singles, i) || seal.Layout == ledger.LayoutEvent {
			objects[single] = true
			if w.get(single) != string(text) {
				w.t.Errorf("%s is not leaf %d", single, seq)
			}
		}
		tree.Append(ledger.LeafHash(text))
		found = append(found, leaf{seq: seq, text: string(text), cut: seal})
	}
	if tree.Root() != seal.Root {
		w.t.Fatalf("%s: its root is not that of the leaves", key)
	}
	return found
}

func (w *world) get(key string) string {
	w.t.Helper()
	body, err := w.store.Get(w.t.Context(), key, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(body)
}

// verifySent verifies the archive, in which there must be one log, with everything
// that was acknowledged exactly once and nothing else of ours.
func (w *world) verifySent() []leaf {
	w.t.Helper()
	logs := w.verify()
	if len(logs) != 1 {
		w.t.Fatalf("the archive has %d logs, want 1", len(logs))
	}
	for _, leaves := range logs {
		var found []string
		for _, l := range leaves {
			if _, rest, ok := strings.Cut(l.text, `"correlation_id":"`); ok {
				found = append(found, rest[:36])
			}
		}
		slices.Sort(found)
		want := slices.Clone(w.sent)
		slices.Sort(want)
		if !slices.Equal(found, want) {
			w.t.Fatalf("%d events in the archive, %d were acknowledged", len(found), len(want))
		}
		if !leaves[0].has(`"event_type":"log","action":"opened"`) {
			w.t.Errorf("the log begins with %s", leaves[0].text)
		}
		return leaves
	}
	return nil
}

// copyDir copies a folder, as a backup does.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// crash ends the writer as if the machine had gone: what is on its disk now is what
// the next one finds. Nothing may be appended meanwhile.
func (p *writer) crash() {
	p.w.t.Helper()
	left := p.w.snapshot()
	p.w.store.set(away)
	p.stop()
	p.w.store.set(nil)
	p.w.dir = left
}

// snapshot is a copy of the writer's folder.
func (w *world) snapshot() string {
	w.t.Helper()
	to := filepath.Join(w.t.TempDir(), "audit")
	copyDir(w.t, w.dir, to)
	return to
}
