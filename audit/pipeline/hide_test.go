package pipeline

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/subjects"
)

// hiding are real subjects that may be away.
type hiding struct {
	*subjects.Subjects

	mu    sync.Mutex // guards fault
	fault func(ctx context.Context) error
}

func openHiding(t *testing.T) *hiding {
	t.Helper()
	file := filepath.Join(t.TempDir(), "subjects.key")
	var key [32]byte
	rand.Read(key[:])
	if err := os.WriteFile(file, []byte(hex.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := subjects.LoadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := subjects.Open(t.Context(), openDatabase(t), keys, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &hiding{Subjects: s}
}

func (h *hiding) set(fault func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = fault
}

func (h *hiding) Hide(ctx context.Context, issuer, subject string, plaintext, bound []byte) (string, []byte, error) {
	h.mu.Lock()
	fault := h.fault
	h.mu.Unlock()
	if fault != nil {
		if err := fault(ctx); err != nil {
			return "", nil, err
		}
	}
	return h.Subjects.Hide(ctx, subjects.Subject{Issuer: issuer, Subject: subject}, plaintext, bound)
}

const (
	whole     = `"user_id":"alice@example.com","tool_name":"vehicle_update","action":"tools/call","status":"allow","metadata":{"reason":"allowed","principal":{"id":"Zq3mXw-alice","issuer":"corp","subject":"alice@example.com","client":"showroom-app","tenant":"north","actor":"pricing-agent","token_id":"at-1001"},"risk":"write","arguments":{"price":18250.50,"note":"<b>"},"client_address":"192.0.2.17","latency_us":245}`
	machine   = `"user_id":"night-job","status":"allow","metadata":{"principal":{"id":"x","issuer":"corp","client":"night-job"},"client_address":"2001:db8:1:2::17"}`
	stranger  = `"status":"deny","metadata":{"reason":"authentication.missing","client_address":"198.51.100.9"}`
	stranger6 = `"status":"deny","metadata":{"reason":"authentication.missing","client_address":"2001:db8:aaaa:bbbb::9"}`
	nameless  = `"status":"deny","metadata":{"reason":"authentication.missing","client_address":"kiosk.example.com"}`
)

func line(kind, rest string) []byte {
	return append(audit.AppendHead(nil, time.Now(), kind), ","+rest+"}\n"...)
}

func TestUsersAreHidden(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := openHiding(t)
		w.hiding = h
		p := w.start()
		lines := [][]byte{
			line("decision", whole), line("decision", whole), line("decision", machine), line("decision", stranger), line("decision", stranger6), line("decision", nameless),
			line("denials", `"status":"deny","metadata":{"reason":"authentication.missing","count":9,"source":"203.0.113.77"}`),
			line("outcome", `"status":"executed","metadata":{"decision_id":"d","source":"ext_proc","http_status":200}`),
		}
		if err := p.journal.Append(bytes.Join(lines, nil), audit.Synced|audit.Single); err != nil {
			t.Fatal(err)
		}
		p.settle()
		p.stop()
		leaves := w.verifySent()[1:]
		nothingIn(t, w, leaves, "alice", "Zq3mXw", "pricing-agent", "at-1001", "night-job", "192.0.2.17", "198.51.100.9", "::17", "bbbb", "kiosk", "203.0.113.77")
		for i, want := range map[int]string{
			0: `"risk":"write"`, 3: `"client_address":"198.51.100.0/24"`, 4: `"client_address":"2001:db8:aaaa::/48"`, 5: `"client_address":""`,
			6: `"source":"203.0.113.0/24"`, 7: `"source":"ext_proc","http_status":200`,
		} {
			if !leaves[i].has(want) {
				t.Errorf("%s lacks %s", leaves[i].text, want)
			}
		}
		for _, i := range []int{0, 2} {
			h.reveals(t, leaves[i], lines[i], p.Origin())
		}
		if a, b := parse(t, leaves[0].text), parse(t, leaves[1].text); a.UserID != b.UserID || a.Metadata.Personal == b.Metadata.Personal {
			t.Errorf("two events of one user: %s and %s", leaves[0].text, leaves[1].text)
		}
	})
}

// nothingIn makes sure that none of the words is in what the archive holds, or in
// what the outbox keeps.
func nothingIn(t *testing.T, w *world, leaves []leaf, words ...string) {
	t.Helper()
	var all []byte
	for _, l := range leaves {
		all = append(all, l.text...)
	}
	for _, dir := range []string{w.store.String(), filepath.Join(w.dir, "outbox")} {
		err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(filepath.Join(dir, path))
			all = append(append(all, path...), text...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, word := range words {
		if i := bytes.Index(all, []byte(word)); i >= 0 {
			t.Errorf("%q is in the archive: …%q", word, all[max(0, i-100):i+len(word)])
		}
	}
}

func parse(t *testing.T, text string) *audit.Event {
	t.Helper()
	e, err := audit.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// reveals makes sure that what was hidden comes back, in its place only.
func (h *hiding) reveals(t *testing.T, l leaf, line []byte, origin string) {
	t.Helper()
	e, before := parse(t, l.text), parse(t, string(line))
	sealed, err := base64.StdEncoding.DecodeString(e.Metadata.Personal)
	if err != nil {
		t.Fatal(err)
	}
	if e.UserID != e.Metadata.Principal.Pseudonym || e.UserID == "" {
		t.Errorf("user %q, pseudonym %q", e.UserID, e.Metadata.Principal.Pseudonym)
	}
	plain, err := h.Reveal(t.Context(), e.UserID, sealed, Bound(origin, l.seq))
	if err != nil {
		t.Fatal(err)
	}
	var was struct {
		UserID    string           `json:"user_id"`
		Principal *audit.Principal `json:"principal"`
		Address   string           `json:"client_address"`
	}
	if err := json.Unmarshal(plain, &was); err != nil {
		t.Fatal(err)
	}
	if was.UserID != before.UserID || *was.Principal != *before.Metadata.Principal || was.Address != before.Metadata.ClientAddress {
		t.Errorf("%s reveals %s", line, plain)
	}
	if _, err := h.Reveal(t.Context(), e.UserID, sealed, Bound(origin, l.seq+1)); !errors.Is(err, subjects.ErrDamaged) {
		t.Errorf("in another place it reveals: %v", err)
	}
}

// What can't be hidden isn't cut: the journal keeps it.
func TestSubjectsAreAway(t *testing.T) {
	errSubjects := errors.New("the subjects are away")
	for what, fault := range map[string]func(context.Context) error{
		"away":  func(context.Context) error { return errSubjects },
		"hangs": func(ctx context.Context) error { return hang(ctx, "") },
	} {
		t.Run(what, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				h := openHiding(t)
				w.hiding = h
				h.set(fault)
				p := w.start()
				for range 3 {
					p.append(audit.Synced)
				}
				p.await("a fault", func(s Status) bool { return s.Faults["cut"] != nil })
				time.Sleep(time.Hour)
				if s := p.Status(); s.Sealed != 1 || s.Faults["cut"] == nil || !strings.Contains(s.Faults["cut"].Error(), "event 1: hide user") {
					t.Errorf("while the subjects are away: %+v", s)
				}
				ends := time.Now()
				p.stop()
				if took := time.Since(ends); took > 4*time.Second {
					t.Errorf("the end took %v", took)
				}
				h.set(nil)
				p = w.start()
				p.settle()
				p.stop()
				nothingIn(t, w, w.verifySent(), "alice")
			})
		})
	}
}
