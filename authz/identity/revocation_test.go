package identity_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz/identity"
)

// listOf loads a list from text.
func listOf(t testing.TB, now func() time.Time, text string) (*identity.RevocationList, error) {
	t.Helper()
	l := identity.NewRevocationList(now)
	return l, l.ReloadFile(writeList(t, text))
}

func writeList(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "revoked.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const listYAML = `
version: 1
revocations:
  - {issuer: corp, token_id: t1}
  - issuer: corp
    subject: alice
    issued_before: 2026-03-01T12:00:00Z   # she got a new laptop
  - issuer: corp
    client: "4711"
    until: "2026-03-01T13:00:00+01:00"
  - issuer: corp
    session: s1
    issued_before: 2026-03-01T12:00:00Z
    until: 2026-03-01T12:30:00Z
`

// The same in JSON, with tabs as its tools write them.
const listJSON = `{
	"version": 1,
	"revocations": [
		{"issuer": "corp", "token_id": "t1"},
		{"issuer": "corp", "subject": "alice", "issued_before": "2026-03-01T12:00:00Z"},
		{"issuer": "corp", "client": "4711", "until": "2026-03-01T12:00:00Z"},
		{"issuer": "corp", "session": "s1", "issued_before": "2026-03-01T12:00:00Z", "until": "2026-03-01T12:30:00Z"}
	]
}`

func TestRevoked(t *testing.T) {
	t.Parallel()
	before, after := noon().Add(-time.Second), noon()
	for format, list := range map[string]string{"YAML": listYAML, "JSON": listJSON} {
		c := newClock()
		c.advance(-time.Hour)
		l, err := listOf(t, c.now, list)
		if err != nil {
			t.Fatal(format, err)
		}
		for _, tc := range []struct {
			name      string
			now       time.Time
			principal identity.Principal
			want      string // a word of the detail; empty: not revoked
		}{
			{"nobody", noon(), identity.Principal{Issuer: "corp", Subject: "bob", TokenID: "t2"}, ""},
			{"token", noon(), identity.Principal{Issuer: "corp", Subject: "bob", TokenID: "t1", IssuedAt: after}, "itself"},
			{"token of another issuer", noon(), identity.Principal{Issuer: "other", Subject: "bob", TokenID: "t1"}, ""},
			{"a subject like a token", noon(), identity.Principal{Issuer: "corp", Subject: "t1"}, ""},
			{"subject, old token", noon(), identity.Principal{Issuer: "corp", Subject: "alice", IssuedAt: before}, "subject"},
			{"subject, new token", noon(), identity.Principal{Issuer: "corp", Subject: "alice", IssuedAt: after}, ""},
			{"subject in capitals", noon(), identity.Principal{Issuer: "corp", Subject: "Alice", IssuedAt: before}, ""},
			{"as an actor", noon(), identity.Principal{Issuer: "corp", Subject: "bob", Actor: "alice", IssuedAt: before}, "actor"},
			{"client", noon().Add(-1), identity.Principal{Issuer: "corp", Client: "4711", IssuedAt: before}, "client"},
			{"client, at its end", noon(), identity.Principal{Issuer: "corp", Client: "4711", IssuedAt: before}, ""},
			{"session", noon().Add(29 * time.Minute), identity.Principal{Issuer: "corp", SessionID: "s1", IssuedAt: before}, "session"},
			{"session, later token", noon().Add(29 * time.Minute), identity.Principal{Issuer: "corp", SessionID: "s1", IssuedAt: after}, ""},
			{"session, at its end", noon().Add(30 * time.Minute), identity.Principal{Issuer: "corp", SessionID: "s1", IssuedAt: before}, ""},
		} {
			c.nanos.Store(tc.now.UnixNano())
			cause, detail := l.Revoked(&tc.principal)
			if (cause == identity.TokenRevoked) != (tc.want != "") || !strings.Contains(detail, tc.want) {
				t.Errorf("%s, %s: %q %q, want %q", format, tc.name, cause, detail, tc.want)
			}
		}
	}
}

func TestRevocationFileMistakes(t *testing.T) {
	t.Parallel()
	const head = "version: 1\nrevocations:\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", ":1: the file is empty"},
		{"a list", "- a\n", ":1: the file must be a mapping"},
		{"no version", "revocations: []\n", ":1: version must be 1"},
		{"version 2", "version: 2\nrevocations: []\n", ":1: version must be 1"},
		{"no list", "version: 1\n", ":1: revocations must be a list"},
		{"null list", "version: 1\nrevocations:\n", ":1: revocations must be a list"},
		{"unknown key", head + "  - {issuer: a, subject: s, expires: x}\n", `:3: "expires" is not a key of a revocation`},
		{"unknown key of the file", "version: 1\nrevocation: []\n", `:2: "revocation" is not a key of the file`},
		{"key twice", head + "  - {issuer: a, subject: s,\n     subject: t}\n", ":4: subject is already set in line 3"},
		{"no issuer", head + "  - subject: s\n", ":3: a revocation needs an issuer"},
		{"issuer, a URL", head + "  - {issuer: 'https://a.example', subject: s}\n", ":3: issuer is the configured name"},
		{"nothing", head + "  - issuer: a\n", ":3: a revocation needs one of token_id, subject, client, session"},
		{"two of them", head + "  - issuer: a\n    subject: s\n    client: c\n", ":5: subject and client are two revocations"},
		{"empty subject", head + "  - {issuer: a, subject: ''}\n", ":3: subject must have 1 to 1024 bytes"},
		{"long subject", head + "  - {issuer: a, subject: " + strings.Repeat("s", 1025) + "}\n", ":3: subject must have 1 to 1024 bytes"},
		{"subject, a number", head + "  - {issuer: a, subject: 007}\n", ":3: subject must be a string; put it in quotes"},
		{"subject, a list", head + "  - {issuer: a, subject: [s]}\n", ":3: subject must be a string"},
		{"subject, null", head + "  - {issuer: a, subject: ~}\n", ":3: subject must be a string"},
		{"an alias", head + "  - &x {issuer: a, subject: s}\n  - *x\n", ":4: a revocation must be a mapping"},
		{"the same twice", head + "  - {issuer: a, subject: s}\n  - {issuer: a, subject: s}\n", ":4: this subject is already revoked in line 3"},
		{"a date", head + "  - {issuer: a, subject: s, until: 2026-03-01}\n", ":3: until must be a time like"},
		{"no zone", head + "  - {issuer: a, subject: s, issued_before: '2026-03-01T12:00:00'}\n", ":3: issued_before must be a time like"},
		{"not YAML", head + "  - {issuer: a\n", ":3: is not valid YAML"},
		{"not YAML, with its line", "version: 1\nrevocations: []\n\tx: 1\n", ":3: is not valid YAML"},
		{"two documents", "version: 1\nrevocations: []\n---\nversion: 1\n", ":3: a second document begins here"},
		{"JSON with a tail", `{"version":1,"revocations":[]} {}`, ":1: is not valid YAML"},
		{"too large", strings.Repeat("#", 9<<20), ":1: the file has more than"},
		{"too many", head + strings.Repeat("  - {}\n", 50_001), ":3: there are more than 50000 revocations"},
	} {
		_, err := listOf(t, noon, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// All at once, but not without end.
	_, err := listOf(t, noon, head+strings.Repeat("  - {issuer: A}\n", 500))
	if lines := strings.Count(fmt.Sprint(err), "\n"); lines < 10 || lines > 30 {
		t.Errorf("%d lines of mistakes:\n%v", lines, err)
	}
	if err := identity.NewRevocationList(noon).ReloadFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that isn't there was loaded")
	}
}

// A broken file leaves the list as it was; a good one replaces it as a whole.
func TestReloadFile(t *testing.T) {
	t.Parallel()
	const one = "version: 1\nrevocations:\n  - {issuer: a, subject: %s}\n"
	l, err := listOf(t, noon, fmt.Sprintf(one, "s"))
	if err != nil {
		t.Fatal(err)
	}
	revoked := func() (got []string) {
		for _, s := range []string{"s", "t"} {
			if cause, _ := l.Revoked(&identity.Principal{Issuer: "a", Subject: s}); cause != "" {
				got = append(got, s)
			}
		}
		return got
	}
	if err := l.ReloadFile(writeList(t, fmt.Sprintf(one, "t")+"  - x\n")); err == nil {
		t.Error("a broken file was loaded")
	}
	if diff := cmp.Diff([]string{"s"}, revoked()); diff != "" {
		t.Error(diff)
	}
	if err := l.ReloadFile(writeList(t, fmt.Sprintf(one, "t"))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"t"}, revoked()); diff != "" {
		t.Error(diff)
	}
	if err := l.ReloadFile(writeList(t, "version: 1\nrevocations: []\n")); err != nil {
		t.Fatal(err)
	}
	if got := revoked(); got != nil {
		t.Errorf("%v are revoked by an empty list", got)
	}
}

func TestRevokedAllocatesNothing(t *testing.T) {
	full, err := listOf(t, noon, listYAML)
	if err != nil {
		t.Fatal(err)
	}
	p := &identity.Principal{Issuer: "corp", Subject: "alice", Client: "c", TokenID: "t1", SessionID: "s1"}
	for name, l := range map[string]*identity.RevocationList{"empty": identity.NewRevocationList(noon), "full": full} {
		if n := testing.AllocsPerRun(100, func() { l.Revoked(p) }); n != 0 {
			t.Errorf("%s list: %v allocations", name, n)
		}
	}
}

func TestRevokedDuringReload(t *testing.T) {
	t.Parallel()
	path := writeList(t, listYAML)
	l := identity.NewRevocationList(noon)
	if err := l.ReloadFile(path); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				if cause, _ := l.Revoked(&identity.Principal{Issuer: "corp", TokenID: "t1"}); cause == "" {
					t.Error("not revoked while the list was read again")
				}
				if err := l.ReloadFile(path); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

func FuzzRevocationFile(f *testing.F) {
	f.Add([]byte(listYAML))
	f.Add([]byte(listJSON))
	f.Add([]byte("version: 1\nrevocations: &a [*a]\n"))
	f.Add([]byte("version: 1\nrevocations:\n  - {issuer: a, subject: !!str 007, until: 2026-03-01T12:00:00Z}\n"))
	f.Add([]byte("{<<: {version: 1}}"))
	path := filepath.Join(f.TempDir(), "list")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l := identity.NewRevocationList(noon)
		if err := l.ReloadFile(path); err != nil {
			if !strings.HasPrefix(err.Error(), path+":") {
				t.Errorf("no place in %q", err)
			}
			return
		}
		if err := l.ReloadFile(path); err != nil {
			t.Error("refused the second time:", err)
		}
		l.Revoked(&identity.Principal{Issuer: "a", Subject: "007"})
	})
}
