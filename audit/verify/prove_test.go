package verify

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/audit/ledger"
)

// provable is an archive with two logs, of which one changed its key twice.
func provable(t testing.TB, layout string) (*testLog, *ledger.Key) {
	first := newKey(t, "audit.example.com")
	other := newLog(t, newShelf(), "aa-00000000", first)
	l := newLog(t, other.store, "gw-0a1b2c3d", first)
	other.layout, l.layout = layout, layout
	for range 3 {
		other.events(40)
		other.cut()
	}
	keys := []*ledger.Key{first, newKey(t, "audit.example.com"), newKey(t, "audit.example.com")}
	for i, k := range keys {
		if i > 0 {
			l.own("log", "key_rotated", map[string]any{"old": keys[i-1].Public, "new": k.Public})
			l.keys = []*ledger.Key{keys[i-1], k}
		}
		for range 3 {
			l.events(50)
			l.cut()
			l.keys = []*ledger.Key{k}
		}
	}
	return l, first
}

// TestProve: every event can be proven with the first key and nothing else.
func TestProve(t *testing.T) {
	t.Parallel()
	for _, layout := range []string{ledger.LayoutHybrid, ledger.LayoutBatch, ledger.LayoutEvent} {
		l, first := provable(t, layout)
		keys := verifiers(t, first)
		for i, c := range l.cuts {
			for _, offset := range []int{0, 1, 17, len(c.leaves) - 1} {
				p, err := Prove(t.Context(), l.store, keys, c.id(offset))
				if err != nil {
					t.Fatalf("%s, cut %d, event %d: %v", layout, i, offset, err)
				}
				text, err := json.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				parsed, err := ParseProof(text)
				if err != nil {
					t.Fatal(err)
				}
				checked, err := parsed.Check(keys)
				if err != nil {
					t.Fatal(err)
				}
				// Cuts 3 and 6 announce; the old key signs them, too.
				if want := max(0, i-1) / 3; len(p.Rotations) != want {
					t.Errorf("cut %d: %d rotations, want %d", i, len(p.Rotations), want)
				}
				want := &Checked{
					Log: l.origin, Seq: c.seal.First + uint64(offset), EventID: c.id(offset), Event: c.leaves[offset],
					Size: c.seal.Size, Sealed: c.seal.Time, Key: checked.Key,
				}
				if diff := cmp.Diff(want, checked); diff != "" {
					t.Error(diff)
				}
				checkTLogProof(t, p)
			}
		}
	}
}

// checkTLogProof reads the text as the specification says.
func checkTLogProof(t *testing.T, p *Proof) {
	t.Helper()
	head, checkpoint, ok := strings.Cut(p.TLogProof, "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) != 2+len(p.Hashes) || lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != "index "+jsonText(t, p.Seq) || checkpoint != p.Checkpoint {
		t.Fatalf("%.300s", p.TLogProof)
	}
	for i, h := range p.Hashes {
		if `"`+lines[2+i]+`"` != jsonText(t, h) {
			t.Errorf("hash %d: %s", i, lines[2+i])
		}
	}
}

func jsonText(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestProveErrors(t *testing.T) {
	t.Parallel()
	l, first := provable(t, ledger.LayoutHybrid)
	keys := verifiers(t, first)
	prove := func(id string) error {
		_, err := Prove(t.Context(), l.store, keys, id)
		return err
	}
	if err := prove("019ca944-9c00-4000-8000-000000000000"); err == nil || !strings.Contains(err.Error(), "not an event's id") {
		t.Error(err)
	}
	for _, id := range []string{
		"00000000-0001-7000-8000-000000000000", "019ca944-9c00-7000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff",
	} {
		if err := prove(id); !errors.Is(err, ErrNoEvent) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := Prove(t.Context(), l.store, verifiers(t, newKey(t, "audit.example.com")), l.cuts[4].id(7)); !errors.Is(err, errUntrusted) || !strings.Contains(err.Error(), l.cuts[4].key) {
		t.Errorf("a foreign key: %v", err)
	}

	c := l.cuts[1]
	leaf := slices.Clone(c.leaves[7])
	leaf[150] ^= 1
	c.leaves[7] = leaf
	l.store.put(c.seal.Batch.Key, encode(l, c.leaves))
	if err := prove(c.id(7)); err == nil || !errors.Is(err, ErrNoEvent) || !strings.Contains(err.Error(), c.seal.Batch.Key) {
		t.Errorf("a changed event: %v", err)
	}
	l.store.remove(l.cuts[7].key)
	if err := prove(l.cuts[8].id(7)); err == nil || !strings.Contains(err.Error(), l.cuts[7].key) {
		t.Errorf("the seal before is missing: %v", err)
	}
	// The batch of another time doesn't matter.
	l.store.remove(l.cuts[2].seal.Batch.Key)
	if err := prove(l.cuts[4].id(2)); err != nil {
		t.Errorf("another batch is missing: %v", err)
	}
	if err := prove(l.cuts[2].id(3)); err == nil || !strings.Contains(err.Error(), l.cuts[2].seal.Batch.Key) {
		t.Errorf("its batch is missing: %v", err)
	}
	// An object that lies about where it belongs leads nowhere else.
	key, _ := ledger.EventKey(l.cuts[4].id(2))
	l.store.put(key, ledger.AppendLeaf(nil, []byte(`{"event_id":"`+l.cuts[4].id(2)+`"}`), l.origin, 1))
	if err := prove(l.cuts[4].id(2)); err != nil {
		t.Errorf("a lying object: %v", err)
	}
}

// TestCheckTampered changes each part of a proof.
func TestCheckTampered(t *testing.T) {
	t.Parallel()
	l, first := provable(t, ledger.LayoutHybrid)
	keys := verifiers(t, first)
	good, err := Prove(t.Context(), l.store, keys, l.cuts[8].id(9))
	if err != nil {
		t.Fatal(err)
	}
	if len(good.Rotations) != 2 {
		t.Fatalf("%d rotations", len(good.Rotations))
	}
	early, err := Prove(t.Context(), l.store, keys, l.cuts[1].id(9))
	if err != nil {
		t.Fatal(err)
	}
	foreign := newKey(t, "audit.example.com")
	flipped := func(s string, at int) string {
		b := []byte(s)
		b[at] ^= 1
		return string(b)
	}
	tests := map[string]struct {
		change func(*Proof)
		part   string // that the error names
	}{
		"a byte of the event":         {func(p *Proof) { p.Event = flipped(p.Event, 120) }, "event or proof"},
		"the event's place":           {func(p *Proof) { p.Event = strings.Replace(p.Event, `"seq":`, `"seq":1`, 1) }, "event: "},
		"the sequence number":         {func(p *Proof) { p.Seq++ }, "event: "},
		"a huge sequence number":      {func(p *Proof) { p.Seq = 1 << 63 }, "event: "},
		"the log":                     {func(p *Proof) { p.Log += "x" }, "log"},
		"the event of another log":    {func(p *Proof) { p.Event = strings.Replace(p.Event, "gw-0a1b2c3d", "gw-0a1b2c3e", 1) }, "event: "},
		"a hash":                      {func(p *Proof) { p.Hashes[3][5] ^= 1 }, "event or proof"},
		"a hash less":                 {func(p *Proof) { p.Hashes = p.Hashes[1:] }, "event or proof"},
		"a hash more":                 {func(p *Proof) { p.Hashes = append(p.Hashes, ledger.Hash{}) }, "event or proof"},
		"no hashes":                   {func(p *Proof) { p.Hashes = nil }, "event or proof"},
		"the checkpoint":              {func(p *Proof) { p.Checkpoint = flipped(p.Checkpoint, 60) }, "checkpoint"},
		"the signature":               {func(p *Proof) { p.Checkpoint = flipped(p.Checkpoint, len(p.Checkpoint)-10) }, "checkpoint"},
		"another checkpoint":          {func(p *Proof) { p.Checkpoint = string(l.store.get(t, l.cuts[7].key)) }, "seq: "},
		"a foreign key":               {func(p *Proof) { p.Checkpoint = string(signed(t, l.cuts[8].seal, foreign)) }, "no trusted key signed it"},
		"no rotations":                {func(p *Proof) { p.Rotations = nil }, "no trusted key signed it"},
		"a rotation less":             {func(p *Proof) { p.Rotations = p.Rotations[:1] }, "no trusted key signed it"},
		"the first rotation less":     {func(p *Proof) { p.Rotations = p.Rotations[1:] }, "rotation 0"},
		"rotations swapped":           {func(p *Proof) { slices.Reverse(p.Rotations) }, "rotation 0"},
		"a rotation's event":          {func(p *Proof) { p.Rotations[1].Event = flipped(p.Rotations[1].Event, 160) }, "rotation 1"},
		"a rotation that is none":     {func(p *Proof) { p.Rotations[0] = early.Evidence }, "rotation 0"},
		"an old key after a rotation": {func(p *Proof) { p.Evidence, p.TLogProof = early.Evidence, "" }, "while the log's key is"},
		"the text for other tools":    {func(p *Proof) { p.TLogProof = flipped(p.TLogProof, 30) }, "tlog_proof"},
	}
	for name, test := range tests {
		p, err := ParseProof([]byte(jsonText(t, good)))
		if err != nil {
			t.Fatal(err)
		}
		test.change(p)
		if _, err := p.Check(keys); err == nil || !strings.Contains(err.Error(), test.part) {
			t.Errorf("%s: %v, want %q", name, err, test.part)
		}
	}
	if _, err := good.Check(nil); err == nil {
		t.Error("a proof was checked without a key")
	}
	for name, text := range map[string]string{
		"empty": "", "unknown member": `{"evil":1}`, "a second value": jsonText(t, good) + "{}", "too large": strings.Repeat(" ", MaxProof+1),
		"too many rotations": `{"rotations":[` + strings.Repeat("{},", maxRotations) + `{}]}`, "a short hash": `{"proof":["AAAA"]}`,
	} {
		if _, err := ParseProof([]byte(text)); err == nil {
			t.Errorf("%s: it was accepted", name)
		}
	}
}

// TestLatest: the newest seal of each log, if a trusted key signed it.
func TestLatest(t *testing.T) {
	t.Parallel()
	l, first := provable(t, ledger.LayoutHybrid)
	got, err := Latest(t.Context(), l.store, verifiers(t, first))
	if err != nil || len(got) != 2 {
		t.Fatalf("%v: %+v", err, got)
	}
	last := l.cuts[8]
	if c := got[1]; c.Writer != l.writer || c.Origin != l.origin || c.Size != last.seal.Size || c.Root != last.seal.Root ||
		c.Object != last.key || c.Signed != string(l.store.get(t, last.key)) || c.Time != last.seal.Time.Format(time.RFC3339Nano) {
		t.Errorf("%+v", c)
	}
	var kept [][]byte
	for _, c := range got {
		kept = append(kept, []byte(c.Signed))
	}
	if r, err := l.verify(Options{Keys: verifiers(t, first), Trusted: kept}); err != nil || r.ExitCode() != 0 {
		t.Errorf("%v\n%s", err, human(t, r))
	}
	if _, err := Latest(t.Context(), l.store, verifiers(t, newKey(t, "audit.example.com"))); !errors.Is(err, errUntrusted) {
		t.Errorf("a foreign key: %v", err)
	}
	l.store.put(last.key, signed(t, last.seal, newKey(t, "audit.example.com")))
	if _, err := Latest(t.Context(), l.store, verifiers(t, first)); !errors.Is(err, errUntrusted) || !strings.Contains(err.Error(), last.key) {
		t.Errorf("a foreign seal: %v", err)
	}
	other := newLog(t, l.store, "gw-ffffffff", first)
	other.cut()
	if got, err := Latest(t.Context(), l.store, verifiers(t, first)); err == nil || len(got) != 2 || got[1].Writer != other.writer {
		t.Errorf("one of three logs can't be trusted: %+v, %v", got, err)
	}
	if got, err := Latest(t.Context(), newShelf(), verifiers(t, first)); err != nil || len(got) != 0 {
		t.Errorf("empty: %v, %v", got, err)
	}
}

// FuzzParseProof: no text makes a proof panic, and none but the good one is true.
func FuzzParseProof(f *testing.F) {
	l, first := provable(f, ledger.LayoutHybrid)
	keys := verifiers(f, first)
	good, err := Prove(f.Context(), l.store, keys, l.cuts[8].id(9))
	if err != nil {
		f.Fatal(err)
	}
	text := jsonText(f, good)
	f.Add([]byte(text))
	f.Add([]byte(`{"event":"","seq":18446744073709551615,"proof":[],"rotations":[{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProof(text)
		if err != nil {
			return
		}
		if checked, err := p.Check(keys); err == nil && string(checked.Event) != good.Event {
			t.Errorf("%s proves %s", text, checked.Event)
		}
	})
}
