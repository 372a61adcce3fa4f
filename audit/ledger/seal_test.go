package ledger

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"
)

// someSeal is the seal of leaves 3 and 4.
func someSeal(layout string) *Seal {
	tree := Tree{}
	s := &Seal{Origin: "example.com/audit/gw-1", First: 3, Time: time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC), Layout: layout}
	for i := range 5 {
		h := LeafHash(leafText(i))
		tree.Append(h)
		if i >= 3 {
			s.Leaves = append(s.Leaves, h[:LeafMark]...)
		}
	}
	s.Size, s.Root, s.Frontier = tree.Size(), tree.Root(), tree.Frontier()
	if layout == LayoutEvent {
		for range 2 {
			id, _ := ParseID([]byte(someID))
			s.IDs = append(s.IDs, id[:]...)
		}
		return s
	}
	s.Batch = &Batch{Key: "audit-logs/x", SHA256: LeafHash(nil), Frames: []int{77}}
	if layout == LayoutHybrid {
		s.Singles = []int{1}
	}
	return s
}

func someKey(t testing.TB) (*Key, note.Verifier) {
	t.Helper()
	key, _, err := GenerateKey("audit.example.com")
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(key.Public)
	if err != nil {
		t.Fatal(err)
	}
	return key, v
}

func TestSeal(t *testing.T) {
	t.Parallel()
	key, known := someKey(t)
	other, otherKnown := someKey(t)
	for _, layout := range []string{LayoutHybrid, LayoutBatch, LayoutEvent} {
		s := someSeal(layout)
		signed, err := s.Sign(key, other)
		if err != nil {
			t.Fatal(err)
		}
		got, signatures, err := OpenSeal(signed, note.VerifierList(known))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Error(diff)
		}
		if len(signatures) != 1 || signatures[0].Hash != known.KeyHash() {
			t.Errorf("signatures %v", signatures)
		}
		if _, signatures, err = OpenSeal(signed, note.VerifierList(known, otherKnown)); err != nil || len(signatures) != 2 {
			t.Errorf("both: %v, %v", signatures, err)
		}
		if read, err := ReadSeal(signed); err != nil || cmp.Diff(s, read) != "" {
			t.Errorf("read: %v, %v", read, err)
		}
		if s.Count() != 2 || !s.Marked(1, LeafHash(leafText(4))) || s.Marked(0, LeafHash(leafText(4))) {
			t.Error("count or marks")
		}
		if layout == LayoutEvent && s.ID(1) != someID {
			t.Error(s.ID(1))
		}
	}
}

// TestOpenSealRefuses: seals that a key of ours signed, and that can't be.
func TestOpenSealRefuses(t *testing.T) {
	t.Parallel()
	key, known := someKey(t)
	tests := map[string]struct {
		layout string
		change func(*Seal)
	}{
		"no leaves":               {LayoutBatch, func(s *Seal) { s.First = 5 }},
		"backwards":               {LayoutBatch, func(s *Seal) { s.First = 6 }},
		"too many leaves":         {LayoutBatch, func(s *Seal) { s.Size = 1 << 40 }},
		"another root":            {LayoutBatch, func(s *Seal) { s.Root[0] ^= 1 }},
		"another frontier":        {LayoutBatch, func(s *Seal) { s.Frontier[1][0] ^= 1 }},
		"a frontier less":         {LayoutBatch, func(s *Seal) { s.Frontier = s.Frontier[1:] }},
		"a mark less":             {LayoutBatch, func(s *Seal) { s.Leaves = s.Leaves[1:] }},
		"no marks":                {LayoutBatch, func(s *Seal) { s.Leaves = nil }},
		"no layout":               {LayoutBatch, func(s *Seal) { s.Layout = "" }},
		"a negative single":       {LayoutHybrid, func(s *Seal) { s.Singles = []int{-1} }},
		"a single outside":        {LayoutHybrid, func(s *Seal) { s.Singles = []int{2} }},
		"a single twice":          {LayoutHybrid, func(s *Seal) { s.Singles = []int{1, 1} }},
		"singles out of order":    {LayoutHybrid, func(s *Seal) { s.Singles = []int{1, 0} }},
		"singles without objects": {LayoutBatch, func(s *Seal) { s.Singles = []int{1} }},
		"no batch":                {LayoutHybrid, func(s *Seal) { s.Batch = nil }},
		"no frames":               {LayoutHybrid, func(s *Seal) { s.Batch.Frames = nil }},
		"a frame more":            {LayoutHybrid, func(s *Seal) { s.Batch.Frames = []int{1, 2} }},
		"ids beside a batch":      {LayoutHybrid, func(s *Seal) { s.IDs = make([]byte, 32) }},
		"an id less":              {LayoutEvent, func(s *Seal) { s.IDs = s.IDs[16:] }},
		"a batch beside objects":  {LayoutEvent, func(s *Seal) { s.Batch = &Batch{} }},
	}
	for name, test := range tests {
		s := someSeal(test.layout)
		test.change(s)
		signed, err := s.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		if s, _, err := OpenSeal(signed, note.VerifierList(known)); err == nil || s != nil {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if s, err := ReadSeal(signed); err == nil || s != nil {
			t.Errorf("%s, read: %+v, %v", name, s, err)
		}
	}
}

// TestOpenSealTexts: signed texts that are no seals.
func TestOpenSealTexts(t *testing.T) {
	t.Parallel()
	key, known := someKey(t)
	good, err := someSeal(LayoutBatch).Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(good[:strings.Index(string(good), "\n\n")+1])
	lines := strings.SplitAfter(text, "\n")
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	tests := map[string]string{
		"no seal":            lines[0] + lines[1] + lines[2],
		"no origin":          "\n" + lines[1] + lines[2] + lines[3],
		"a line more":        text + "x\n",
		"a zero before":      lines[0] + "0" + lines[1] + lines[2] + lines[3],
		"a negative size":    lines[0] + "-5\n" + lines[2] + lines[3],
		"a huge size":        lines[0] + "9223372036854775808\n" + lines[2] + lines[3],
		"a short root":       lines[0] + lines[1] + "AAAA\n" + lines[3],
		"a root of another":  lines[0] + lines[1] + root + "\n" + lines[3],
		"another extension":  lines[0] + lines[1] + lines[2] + "other " + lines[3],
		"an unknown member":  lines[0] + lines[1] + lines[2] + strings.Replace(lines[3], "{", `{"evil":1,`, 1),
		"no JSON":            lines[0] + lines[1] + lines[2] + extension + "{\n",
		"something after it": lines[0] + lines[1] + lines[2] + strings.TrimSuffix(lines[3], "\n") + "{}\n",
	}
	for name, text := range tests {
		signed, err := note.Sign(&note.Note{Text: text}, key)
		if err != nil {
			t.Fatal(err)
		}
		if s, _, err := OpenSeal(signed, note.VerifierList(known)); err == nil || s != nil {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	_, foreign := someKey(t)
	var unverified *note.UnverifiedNoteError
	if _, _, err := OpenSeal(good, note.VerifierList(foreign)); !errors.As(err, &unverified) {
		t.Errorf("a foreign key: %v", err)
	}
	large := append(make([]byte, MaxSeal), good...)
	if _, _, err := OpenSeal(large, note.VerifierList(known)); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("too large: %v", err)
	}
	if _, err := ReadSeal(large); err == nil {
		t.Error("too large: it was read")
	}
	if _, err := ReadSeal([]byte("no note")); err == nil {
		t.Error("no note: it was read")
	}
	for i := range good {
		flipped := append([]byte(nil), good...)
		flipped[i] ^= 1
		if s, _, err := OpenSeal(flipped, note.VerifierList(known)); err == nil && cmp.Diff(s, someSeal(LayoutBatch)) != "" {
			t.Errorf("bit of byte %d: %+v", i, s)
		}
	}
}

// FuzzReadSeal: whatever can be read fits together.
func FuzzReadSeal(f *testing.F) {
	key, _ := someKey(f)
	for _, layout := range []string{LayoutHybrid, LayoutBatch, LayoutEvent} {
		signed, err := someSeal(layout).Sign(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(signed)
	}
	f.Fuzz(func(t *testing.T, signed []byte) {
		_, _, _ = OpenSeal(signed, note.VerifierList())
		s, err := ReadSeal(signed)
		if err != nil {
			return
		}
		for i := range s.Count() {
			s.Marked(i, Hash{})
			if s.Layout == LayoutEvent {
				_ = s.ID(i)
			}
		}
		if (s.Batch == nil) != (s.Layout == LayoutEvent) {
			t.Errorf("layout %s with batch %v", s.Layout, s.Batch)
		}
		if tree, err := ResumeTree(s.Size, s.Frontier); err != nil || tree.Root() != s.Root {
			t.Errorf("the frontier: %v", err)
		}
	})
}

// FuzzPlace: what is read is what would be written.
func FuzzPlace(f *testing.F) {
	f.Add([]byte(`{"a":1,"log":"example.com/gw","seq":42}`))
	f.Fuzz(func(t *testing.T, leaf []byte) {
		origin, seq, ok := Place(leaf)
		if ok && !strings.HasSuffix(string(leaf), string(AppendPlace(nil, origin, seq))) {
			t.Errorf("%q: %q, %d", leaf, origin, seq)
		}
		if id, ok := ParseID(leaf); ok && id.String() != string(leaf) {
			t.Errorf("%q: %s", leaf, id)
		}
	})
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	key, text, err := GenerateKey("audit.example.com")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	loaded, err := LoadKey(file)
	if err != nil || loaded.Public != key.Public || loaded.KeyHash() != key.KeyHash() {
		t.Fatalf("%+v, %v", loaded, err)
	}
	signed, err := someSeal(LayoutBatch).Sign(loaded)
	if err != nil {
		t.Fatal(err)
	}
	known, err := ParsePublic("# comment\n\n" + key.Public + "\n")
	if err != nil || len(known) != 1 {
		t.Fatal(known, err)
	}
	if _, _, err := OpenSeal(signed, note.VerifierList(known...)); err != nil {
		t.Error(err)
	}

	secret := strings.Split(strings.TrimSpace(text), "\n")[2]
	for name, bad := range map[string]string{"empty": "", "only comments": "# a\n", "two keys": secret + "\n" + secret + "\n", "the public key": key.Public, "cut": secret[:len(secret)-9]} {
		write(bad)
		if _, err := LoadKey(file); err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), secret[40:60]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadKey(file + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := ParsePublic(text); err == nil || !strings.Contains(err.Error(), "private key") || strings.Contains(err.Error(), secret[40:60]) {
		t.Errorf("a private key as the public one: %v", err)
	}
	for _, bad := range []string{"", "# a\n", "hello", key.Public + "x"} {
		if _, err := ParsePublic(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
