package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/verify"
)

var always = []string{
	"README.txt", "verify.txt", "verify.json", "population.json", "administration.ndjson", "checkpoints.json",
	"keys.txt", "settings.json", "samples.json", "SHA256SUMS.signed",
}

// checkBundle fails unless all files are there and are what the signed list says.
func checkBundle(t *testing.T, files map[string][]byte, keys []note.Verifier) {
	t.Helper()
	for _, name := range always {
		if len(files[name]) == 0 {
			t.Errorf("no %s in the bundle", name)
		}
	}
	list, err := note.Open(files["SHA256SUMS.signed"], note.VerifierList(keys...))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(list.Text) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		listed = append(listed, name)
		if got := sha256.Sum256(files[name]); hex.EncodeToString(got[:]) != sum {
			t.Errorf("the sum of %s is another", name)
		}
	}
	want := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(name string) bool { return name == "SHA256SUMS.signed" })
	if !slices.Equal(listed, want) {
		t.Errorf("the list has %v, the bundle %v", listed, want)
	}
}

func decode[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestIntact(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{ledger.LayoutHybrid, ledger.LayoutBatch, ledger.LayoutEvent} {
		t.Run(layout, func(t *testing.T) {
			t.Parallel()
			tr := newTrail(t, layout)
			in := tr.input()
			files, report := tr.write(in)
			if report.ExitCode() != 0 {
				t.Fatalf("%s", files["verify.txt"])
			}
			checkBundle(t, files, in.Keys)
			days := decode[[]Counts](t, files["population.json"])
			if len(days) != 2 || days[0].Day != "2026-03-01" || days[1].Day != "2026-03-02" {
				t.Fatalf("days %+v", days)
			}
			for i, day := range days {
				if day.Events != tr.events[i] || day.By["decision allow"] != 20 || day.By["operator done"] != 1 || day.Unread != 0 {
					t.Errorf("%+v, want %d events", day, tr.events[i])
				}
			}
			if n := bytes.Count(files["administration.ndjson"], []byte(`"action":"token.revoke"`)); n != 2 {
				t.Errorf("%d acts of administrators", n)
			}
			keys, err := ledger.ParsePublic(string(files["keys.txt"]))
			if err != nil {
				t.Fatal(err)
			}
			samples := decode[[]sample](t, files["samples.json"])
			if len(samples) != tr.events[0]+tr.events[1] {
				t.Errorf("%d samples", len(samples))
			}
			for _, s := range samples {
				checkSample(t, files["samples/"+s.Event+".json"], keys, s)
			}
			checkpoints := decode[[]verify.Checkpoint](t, files["checkpoints.json"])
			if len(checkpoints) != 1 || string(files["checkpoints/"+checkpoints[0].Writer+".txt"]) != checkpoints[0].Signed {
				t.Errorf("checkpoints %s", files["checkpoints.json"])
			}
		})
	}
}

func checkSample(t *testing.T, text []byte, keys []note.Verifier, s sample) {
	t.Helper()
	proof, err := verify.ParseProof(text)
	if err != nil {
		t.Fatal(err)
	}
	if checked, err := proof.Check(keys); err != nil || checked.EventID != s.Event || s.Error != "" {
		t.Errorf("%+v: %v", s, err)
	}
}

// TestPeriod: of two days one counts, and what is wrong with the other doesn't.
func TestPeriod(t *testing.T) {
	t.Parallel()
	tr := newTrail(t, ledger.LayoutHybrid)
	batches := tr.keys("audit-logs/year=2026/month=03/day=01/batch-")
	tr.remove(batches[len(batches)-1])
	in := tr.input()
	in.Verify.From = firstDay.AddDate(0, 0, 1)
	files, _ := tr.write(in)
	days := decode[[]Counts](t, files["population.json"])
	if len(days) != 1 || days[0].Day != "2026-03-02" || days[0].Events != tr.events[1] || days[0].Unread != 0 {
		t.Errorf("after: %+v", days)
	}
	in.Verify.From, in.Verify.To = firstDay, firstDay
	files, _ = tr.write(in)
	days = decode[[]Counts](t, files["population.json"])
	if len(days) != 1 || days[0].Day != "2026-03-01" || days[0].Events+int(days[0].Unread) != tr.events[0] || days[0].Unread == 0 {
		t.Errorf("before: %+v", days)
	}
}

// TestSamples: the same seed chooses the same events.
func TestSamples(t *testing.T) {
	t.Parallel()
	tr := newTrail(t, ledger.LayoutBatch)
	in := tr.input()
	in.Samples = 3
	first, _ := tr.write(in)
	again, _ := tr.write(in)
	in.Seed = 2
	other, _ := tr.write(in)
	if n := len(decode[[]sample](t, first["samples.json"])); n != 3 {
		t.Errorf("%d samples", n)
	}
	if !bytes.Equal(first["samples.json"], again["samples.json"]) || bytes.Equal(first["samples.json"], other["samples.json"]) {
		t.Error("the seed doesn't choose")
	}
}

// TestWrittenTwice: a seal counts once, and that it isn't locked is noted.
func TestWrittenTwice(t *testing.T) {
	t.Parallel()
	tr := newTrail(t, ledger.LayoutHybrid)
	in := tr.input()
	in.Store = twice{tr.store}
	files, _ := tr.write(in)
	checkBundle(t, files, in.Keys)
	for i, day := range decode[[]Counts](t, files["population.json"]) {
		if day.Events != tr.events[i] {
			t.Errorf("%+v, want %d events", day, tr.events[i])
		}
	}
	for _, s := range decode[[]sample](t, files["samples.json"]) {
		if s.Lock != nil || !strings.Contains(s.Error, "lock of "+s.Seal) || len(files["samples/"+s.Event+".json"]) == 0 {
			t.Errorf("%+v", s)
		}
	}
}

// TestTampered: the bundle is complete whatever was found, and says what is missing.
func TestTampered(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		layout string
		tamper func(tr *trail, seals []string) (unread int, object string)
		failed bool // samples can't all be proven
	}{
		"a bit of a batch": {ledger.LayoutBatch, func(tr *trail, seals []string) (int, string) {
			s := tr.seal(seals[1])
			tr.flip(s.Batch.Key, 20)
			return s.Count(), s.Batch.Key
		}, false},
		"a batch removed": {ledger.LayoutHybrid, func(tr *trail, seals []string) (int, string) {
			s := tr.seal(seals[1])
			tr.remove(s.Batch.Key)
			return s.Count(), s.Batch.Key
		}, false},
		"an event removed": {ledger.LayoutEvent, func(tr *trail, _ []string) (int, string) {
			key := tr.keys("audit-logs/year=2026/month=03/day=01/")[3]
			tr.remove(key)
			return 1, key
		}, true},
		"an event edited": {ledger.LayoutEvent, func(tr *trail, _ []string) (int, string) {
			key := tr.keys("audit-logs/year=2026/month=03/day=01/")[3]
			tr.flip(key, 2) // a digit of its number
			return 1, key
		}, true},
		"a seal removed": {ledger.LayoutBatch, func(tr *trail, seals []string) (int, string) {
			s := tr.seal(seals[1])
			tr.remove(seals[1])
			return s.Count(), seals[1]
		}, true},
		"a bit of a seal": {ledger.LayoutBatch, func(tr *trail, seals []string) (int, string) {
			s := tr.seal(seals[1])
			tr.flip(seals[1], 200)
			return s.Count(), seals[1]
		}, true},
		"a seal emptied, and the next one removed": {ledger.LayoutBatch, func(tr *trail, seals []string) (int, string) {
			lost := int(tr.seal(seals[2]).Size - tr.seal(seals[1]).First)
			tr.remove(seals[2])
			if err := os.Truncate(filepath.Join(tr.dir, seals[1]), 0); err != nil {
				tr.t.Fatal(err)
			}
			return lost, seals[1]
		}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrail(t, test.layout)
			unread, object := test.tamper(tr, tr.keys(ledger.SealPrefix))
			in := tr.input()
			files, report := tr.write(in)
			if report.ExitCode() != 1 || !strings.Contains(string(files["verify.txt"]), object) {
				t.Errorf("exit code %d: %s", report.ExitCode(), files["verify.txt"])
			}
			checkBundle(t, files, in.Keys)
			day := decode[[]Counts](t, files["population.json"])[0]
			if int(day.Unread) != unread || day.Events != tr.events[0]-unread || !slices.Contains(day.Objects, object) {
				t.Errorf("%+v, want %d of %d unread, of %s", day, unread, tr.events[0], object)
			}
			if !strings.Contains(string(files["README.txt"]), fmt.Sprintf(" %d more that can't be read", unread)) {
				t.Errorf("%s", files["README.txt"])
			}
			failed := false
			for _, s := range decode[[]sample](t, files["samples.json"]) {
				failed = failed || s.Error != ""
				if s.Error == "" {
					checkSample(t, files["samples/"+s.Event+".json"], in.Keys, s)
				}
			}
			if failed != test.failed {
				t.Errorf("samples that can't be proven: %v", failed)
			}
		})
	}
}

// TestForeignCheckpoint: a log whose newest seal nobody trusted signed has no
// checkpoint, and the bundle says why.
func TestForeignCheckpoint(t *testing.T) {
	t.Parallel()
	tr := newTrail(t, ledger.LayoutBatch)
	seals := tr.keys(ledger.SealPrefix)
	tr.flip(seals[len(seals)-1], 20)
	in := tr.input()
	files, report := tr.write(in)
	checkBundle(t, files, in.Keys)
	if report.ExitCode() != 1 || !strings.Contains(string(files["checkpoints/missing.txt"]), seals[len(seals)-1]) {
		t.Errorf("exit code %d: %s", report.ExitCode(), files["checkpoints/missing.txt"])
	}
}

// TestIncomplete: without an archive, or without time, there is no bundle.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	tr := newTrail(t, ledger.LayoutBatch)
	ended, end := context.WithCancel(t.Context())
	end()
	var b bytes.Buffer
	if _, err := Write(ended, &b, tr.input()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for _, key := range tr.keys("") {
		tr.remove(key)
	}
	if _, err := Write(t.Context(), &b, tr.input()); !errors.Is(err, verify.ErrNoLogs) {
		t.Errorf("%v", err)
	}
}
