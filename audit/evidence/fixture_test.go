package evidence

import (
	"archive/zip"
	"bytes"
	"context"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/pipeline"
	"github.com/sallyport/sallyport/audit/verify"
)

// firstDay is when the first of two runs was, the second a day later.
var firstDay = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// trail is what the real pipeline wrote on two days into a real folder.
type trail struct {
	t      *testing.T
	dir    string
	store  archive.Store
	key    *ledger.Key
	events [2]int // of each day
}

func newTrail(t *testing.T, layout string) *trail {
	t.Helper()
	tr := &trail{t: t, dir: t.TempDir()}
	var err error
	if tr.store, err = archive.OpenFolder(tr.dir); err != nil {
		t.Fatal(err)
	}
	if tr.key, _, err = ledger.GenerateKey("audit.example.com"); err != nil {
		t.Fatal(err)
	}
	local, sum := t.TempDir(), 0
	for i := range tr.events {
		shift := time.Until(firstDay.AddDate(0, 0, i))
		next := tr.run(local, layout, func() time.Time { return time.Now().Add(shift) })
		tr.events[i] = next - sum
		sum = next
	}
	return tr
}

// run records 21 events and waits until the archive has them and the log's own.
func (tr *trail) run(local, layout string, now func() time.Time) int {
	tr.t.Helper()
	log := slog.New(slog.DiscardHandler)
	j, err := journal.Open(journal.Config{Dir: filepath.Join(local, "journal")}, log, now)
	if err != nil {
		tr.t.Fatal(err)
	}
	p, err := pipeline.Open(pipeline.Config{
		Dir: filepath.Join(local, "outbox"), Origin: "example.com/audit", Name: "gw", Layout: layout, BatchEvents: 8,
		Interval: time.Millisecond, Heartbeat: time.Hour, Keys: []*ledger.Key{tr.key},
	}, j, tr.store, nil, nil, log, now)
	if err != nil {
		tr.t.Fatal(err)
	}
	entry := audit.Entry{Type: "operator", Action: "token.revoke", Status: "done"}
	line, err := entry.Line(now())
	if err != nil {
		tr.t.Fatal(err)
	}
	for range 20 {
		line = append(audit.AppendHead(line, now(), "decision"), `,"status":"allow"}`+"\n"...)
	}
	if err := j.Append(line, audit.Synced|audit.Single); err != nil {
		tr.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(tr.t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for look := time.NewTicker(5 * time.Millisecond); p.Status().Archived < j.Next(); <-look.C {
		if faults := p.Status().Faults; len(faults) > 0 {
			tr.t.Fatal(faults)
		}
	}
	stop()
	if err := <-ended; err != nil {
		tr.t.Fatal(err)
	}
	next := int(j.Next())
	if err := j.Close(); err != nil {
		tr.t.Fatal(err)
	}
	return next
}

// input asks for all events of the period, each as a sample.
func (tr *trail) input() Input {
	v, err := note.NewVerifier(tr.key.Public)
	if err != nil {
		tr.t.Fatal(err)
	}
	now := firstDay.AddDate(0, 0, 1).Add(5 * time.Minute)
	return Input{
		Store: tr.store, Keys: []note.Verifier{v}, Public: []string{tr.key.Public}, Samples: 1000, Seed: 1,
		Signers: []note.Signer{tr.key}, Settings: map[string]any{"s3_retention_days": 400}, Now: now,
		Verify: verify.Options{Keys: []note.Verifier{v}, Now: func() time.Time { return now }},
	}
}

// write writes the bundle and reads it back.
func (tr *trail) write(in Input) (map[string][]byte, *verify.Report) {
	tr.t.Helper()
	var b bytes.Buffer
	report, err := Write(tr.t.Context(), &b, in)
	if err != nil {
		tr.t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		tr.t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, f := range z.File {
		if files[f.Name], err = fs.ReadFile(z, f.Name); err != nil {
			tr.t.Fatal(err)
		}
	}
	return files, report
}

// keys are those of objects, in order.
func (tr *trail) keys(prefix string) (keys []string) {
	tr.t.Helper()
	for v, err := range tr.store.Versions(tr.t.Context(), prefix, "") {
		if err != nil {
			tr.t.Fatal(err)
		}
		keys = append(keys, v.Key)
	}
	return keys
}

func (tr *trail) remove(key string) {
	tr.t.Helper()
	if err := os.Remove(filepath.Join(tr.dir, key)); err != nil {
		tr.t.Fatal(err)
	}
}

// flip changes one bit, that far from the object's end.
func (tr *trail) flip(key string, fromEnd int) {
	tr.t.Helper()
	path := filepath.Join(tr.dir, key)
	body, err := os.ReadFile(path)
	if err != nil {
		tr.t.Fatal(err)
	}
	body[len(body)-fromEnd] ^= 1
	tr.remove(key)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

// seal is the one under the key.
func (tr *trail) seal(key string) *ledger.Seal {
	tr.t.Helper()
	signed, err := tr.store.Get(tr.t.Context(), key, "")
	if err != nil {
		tr.t.Fatal(err)
	}
	s, err := ledger.ReadSeal(signed)
	if err != nil {
		tr.t.Fatal(err)
	}
	return s
}

// twice lists each object as if it had been written a second time, and says that it
// is locked storage, which it isn't.
type twice struct{ archive.Store }

func (twice) WORM() bool { return true }

func (s twice) Versions(ctx context.Context, prefix, after string) iter.Seq2[archive.Version, error] {
	return func(yield func(archive.Version, error) bool) {
		for v, err := range s.Store.Versions(ctx, prefix, after) {
			if !yield(v, err) || err == nil && !yield(v, nil) {
				return
			}
		}
	}
}
