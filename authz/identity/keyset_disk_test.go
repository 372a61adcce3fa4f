package identity

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// diskDay is the time of the tests below, whose key sets have a clock of their own.
func diskDay() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// cached keeps the set in a directory; the clock stands at diskDay plus later.
func cached(dir string, later time.Duration) func(*KeySetConfig) {
	return func(c *KeySetConfig) {
		c.CacheDir = dir
		c.Now = func() time.Time { return diskDay().Add(later) }
	}
}

// storedBy is what a key set wrote into a directory of its own.
func storedBy(t testing.TB, set string, edits ...func(*KeySetConfig)) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	p := newFakeProvider()
	p.set(testKeysURL, ok(set))
	p.set(testMetadata, ok(metadata(testIssuer, testKeysURL)))
	k := loaded(t, p, append([]func(*KeySetConfig){cached(dir, 0)}, edits...)...)
	if s := k.Status(); s.Warning != "" || s.FromDisk {
		t.Fatalf("status %+v", s)
	}
	return dir, k.storedPath()
}

func TestSetSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir, file := storedBy(t, jwks(
		ecJWK("a"), ecJWK("b", `"alg":"ES256"`, `"issuer":"https://i"`), ecJWK("enc", `"use":"enc"`),
		rsaJWK("r", modulus(2048), 65537, `"alg":"RS256"`)))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the directory holds %v, %v, want one file", entries, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}

	p := newFakeProvider() // away from here on
	p.set(testKeysURL, unreachable())
	book := &logBook{}
	k := loaded(t, p, cached(dir, 23*time.Hour), func(c *KeySetConfig) { c.Log = book.logger() })
	s := k.Status()
	if diff := cmp.Diff([]string{"a", "b", "r"}, s.KeyIDs); diff != "" {
		t.Error(diff)
	}
	if !s.FromDisk || !s.Usable || s.Age != 23*time.Hour || s.Generation != 1 || !s.LastSuccess.IsZero() || s.LastError == "" {
		t.Errorf("status %+v", s)
	}
	b, err := k.Key("b", "ES256")
	if err != nil || b.Alg != "ES256" || b.Issuer != "https://i" {
		t.Errorf("got key %+v, %v", b, err)
	}
	if n := len(book.with("key set not fetched, the last good one is used")); n != 1 {
		t.Errorf("logged %d times that the stored set is used", n)
	}

	// The provider is back, with the same keys: nothing verified is void.
	p.set(testKeysURL, ok(jwks(rsaJWK("r", modulus(2048), 65537, `"alg":"RS256"`), ecJWK("a"), ecJWK("b", `"alg":"ES256"`, `"issuer":"https://i"`))))
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := k.Status(); s.FromDisk || s.Age != 0 || s.Generation != 1 {
		t.Errorf("status %+v", s)
	}
}

// A stored set ages from its fetch, not from the restart, and Run replaces it as
// soon as the provider is back.
func TestStoredSetKeepsItsAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		keep := func(c *KeySetConfig) { c.CacheDir = dir }
		p := newFakeProvider()
		p.set(testKeysURL, ok(keySetOf("a")))
		loaded(t, p, keep)
		p.set(testKeysURL, unreachable())
		time.Sleep(10 * time.Minute)
		young := loaded(t, p, keep)
		stop := run(t, young)
		before := p.count(testKeysURL)
		time.Sleep(time.Minute)
		if p.count(testKeysURL) == before || !young.Status().FromDisk {
			t.Error("with a young stored set, the provider isn't asked before the set is due")
		}
		stop()

		time.Sleep(20*time.Hour - 11*time.Minute)
		k := running(t, p, keep)
		time.Sleep(4 * time.Hour)
		wantKey(t, k, "a", "")
		time.Sleep(time.Nanosecond)
		wantKey(t, k, "a", KeysUnavailable)
		p.set(testKeysURL, ok(keySetOf("b")))
		time.Sleep(lastBackoff)
		wantKey(t, k, "b", "")
		if k.Generation() != 2 {
			t.Errorf("generation %d", k.Generation())
		}
	})
}

// What is in memory came later than what is on disk, whoever wrote that.
func TestStoredSetNeverReplacesALoadedOne(t *testing.T) {
	t.Parallel()
	dir, _ := storedBy(t, keySetOf("a"))
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("b")))
	k := loaded(t, p, cached(t.TempDir(), 0))
	k.cfg.CacheDir = dir
	p.set(testKeysURL, unreachable())
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKey(t, k, "b", "")
	if k.Generation() != 1 || k.Status().FromDisk {
		t.Errorf("status %+v", k.Status())
	}
}

func TestStoredSetIsRefused(t *testing.T) {
	t.Parallel()
	rewrite := func(change func(map[string]any)) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var doc map[string]any
			if err := json.Unmarshal(raw, &doc); err != nil {
				t.Fatal(err)
			}
			change(doc)
			if raw, err = json.Marshal(doc); err != nil {
				t.Fatal(err)
			}
			write(t, file, raw)
		}
	}
	chmod := func(mode fs.FileMode) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	replaceBy := func(make func(file string) error) func(t *testing.T, file string) {
		return func(t *testing.T, file string) {
			if err := errors.Join(os.Remove(file), make(file)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := map[string]struct {
		spoil func(t *testing.T, file string)
		later time.Duration
		why   string // empty: it is used
	}{
		"untouched":          {later: 24 * time.Hour},
		"readable by others": {spoil: chmod(0o644)},
		"too old":            {later: 24*time.Hour + 1, why: "older than 24h0m0s"},
		"from the future":    {later: -2 * time.Minute, why: "lies in the future"},
		"clock a bit back":   {later: -30 * time.Second},
		"group may write":    {spoil: chmod(0o660), why: "others could have written it"},
		"all may write":      {spoil: chmod(0o606), why: "others could have written it"},
		"torn": {why: "unexpected end of JSON input", spoil: func(t *testing.T, file string) {
			if err := os.Truncate(file, 100); err != nil {
				t.Fatal(err)
			}
		}},
		"emptied": {why: "unexpected end of JSON input", spoil: func(t *testing.T, file string) { write(t, file, nil) }},
		"oversize": {why: "more than 2097152 bytes", spoil: func(t *testing.T, file string) {
			if err := os.Truncate(file, 2<<20+1); err != nil { // filled up with zeros
				t.Fatal(err)
			}
		}},
		"a directory":       {why: "others could have written it", spoil: replaceBy(func(file string) error { return os.Mkdir(file, 0o700) })},
		"a pipe":            {why: "others could have written it", spoil: replaceBy(func(file string) error { return syscall.Mkfifo(file, 0o600) })},
		"version 2":         {why: "another configuration", spoil: rewrite(func(d map[string]any) { d["version"] = 2 })},
		"another issuer":    {why: "another configuration", spoil: rewrite(func(d map[string]any) { d["issuer"] = "https://evil.example" })},
		"another JWKS URL":  {why: "another configuration", spoil: rewrite(func(d map[string]any) { d["jwks_url"] = "https://evil.example" })},
		"another discovery": {why: "another configuration", spoil: rewrite(func(d map[string]any) { d["discovery_url"] = testMetadata })},
		"no set":            {why: "not a JSON object", spoil: rewrite(func(d map[string]any) { delete(d, "set") })},
		"empty set":         {why: "none of 0 keys", spoil: rewrite(func(d map[string]any) { d["set"] = map[string]any{"keys": []any{}} })},
		"unusable keys": {why: "none of 1 keys", spoil: rewrite(func(d map[string]any) {
			d["set"] = map[string]any{"keys": []any{map[string]any{"kid": "a", "kty": "oct", "k": "AA"}}}
		})},
		"no time": {why: "older than", spoil: rewrite(func(d map[string]any) { delete(d, "fetched") })},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, file := storedBy(t, keySetOf("a"))
			if test.spoil != nil {
				test.spoil(t, file)
			}
			p := newFakeProvider()
			p.set(testKeysURL, unreachable())
			k := newTestKeySet(t, p, cached(dir, test.later))
			err := k.Load(t.Context())
			if test.why == "" {
				if err != nil {
					t.Fatal(err)
				}
				wantKey(t, k, "a", "")
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.why) || !strings.Contains(err.Error(), "stored key set") {
				t.Errorf("got %v, want an error about %q", err, test.why)
			}
			wantKey(t, k, "a", KeysUnavailable)
		})
	}
}

func write(t *testing.T, file string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Keys that another configuration of the same issuer fetched are not believed.
func TestStoredSetOfAnotherConfiguration(t *testing.T) {
	t.Parallel()
	viaMetadata := func(c *KeySetConfig) { c.JWKSURL, c.DiscoveryURL = "", testMetadata }
	byIssuer := func(c *KeySetConfig) { c.JWKSURL = "" }
	atKeysURL := func(*KeySetConfig) {}
	configs := map[string]func(*KeySetConfig){"jwks_url": atKeysURL, "discovery_url": viaMetadata, "issuer": byIssuer}
	for wrote, before := range configs {
		for reads, after := range configs {
			dir, _ := storedBy(t, keySetOf("a"), before)
			p := newFakeProvider()
			p.set(testKeysURL, unreachable())
			p.set(testMetadata, unreachable())
			err := newTestKeySet(t, p, cached(dir, 0), after).Load(t.Context())
			if (err == nil) != (wrote == reads) {
				t.Errorf("written with %s, read with %s: %v", wrote, reads, err)
			}
		}
	}
	dir, _ := storedBy(t, keySetOf("a"))
	p := newFakeProvider()
	p.set(testKeysURL, unreachable())
	k := newTestKeySet(t, p, cached(dir, 0), func(c *KeySetConfig) { c.Issuer = "https://other.example" })
	if err := k.Load(t.Context()); err == nil {
		t.Error("the set of another issuer is used")
	}
}

// A file that somebody else owns is refused even if nobody else may write it:
// in a directory like /tmp a stranger could have put it there before us.
func TestStoredSetOfAnotherUser(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, nil)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if !ownedBy(info, os.Geteuid()) || ownedBy(info, os.Geteuid()+1) {
		t.Error("ownedBy doesn't tell our file from another's")
	}
	if os.Geteuid() != 0 {
		return // only root can give a file away
	}
	dir, file := storedBy(t, keySetOf("a"))
	if err := os.Chown(file, 65534, -1); err != nil {
		t.Fatal(err)
	}
	p := newFakeProvider()
	if err := newTestKeySet(t, p, cached(dir, 0)).Load(t.Context()); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("got %v", err)
	}
}

// A directory that can't be written is a warning; the keys are there anyway.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	p := newFakeProvider()
	p.set(testKeysURL, ok(keySetOf("a")))
	book := &logBook{}
	dir := filepath.Join(t.TempDir(), "missing")
	k := loaded(t, p, cached(dir, 0), func(c *KeySetConfig) { c.Log = book.logger() })
	wantKey(t, k, "a", "")
	if s := k.Status(); !strings.Contains(s.Warning, "store key set") || s.LastError != "" || s.Failures != 0 {
		t.Errorf("status %+v", s)
	}
	if n := len(book.with("key set refreshed with a problem")); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.Load(t.Context()); err != nil || k.Status().Warning != "" {
		t.Errorf("directory made: %v, warning %q", err, k.Status().Warning)
	}

	// The file can't be replaced: nothing is left beside it.
	if err := errors.Join(os.Remove(k.storedPath()), os.MkdirAll(filepath.Join(k.storedPath(), "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := k.Load(t.Context()); err != nil || k.Status().Warning == "" {
		t.Errorf("directory in the way: %v, warning %q", err, k.Status().Warning)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A fuzzed file is read without harm, and what is read from it went through
// the same filter as what a provider sends.
func FuzzReadStored(f *testing.F) {
	_, file := storedBy(f, keySetOf("a", "b"))
	raw, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte(`{"version":1,"issuer":"` + testIssuer + `","jwks_url":"` + testKeysURL + `","fetched":"2026-03-01T12:00:00Z","set":{"keys":[]}}`))
	f.Add([]byte(`{"set":null,"SET":` + keySetOf("c") + `,"fetched":"9999-99-99"}`))
	f.Add([]byte(`[]`))
	f.Add([]byte{})
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			t.Skip()
		}
		k := newTestKeySet(t, newFakeProvider(), cached(dir, time.Hour))
		write(t, k.storedPath(), raw)
		stored, err := readStored(k.storedPath())
		loadErr := k.loadStored(t.Context(), diskDay())
		if err != nil && loadErr == nil {
			t.Fatalf("%v, but it is used", err)
		}
		if loadErr != nil {
			wantKey(t, k, "a", KeysUnavailable)
			return
		}
		if stored.Issuer != testIssuer || stored.JWKS != testKeysURL || diskDay().Sub(stored.Fetched) > 24*time.Hour {
			t.Fatalf("used although it says %+v", stored)
		}
		set, err := parseKeySet(stored.Set)
		if err != nil {
			t.Fatal(err)
		}
		checkParsedSet(t, set)
	})
}
