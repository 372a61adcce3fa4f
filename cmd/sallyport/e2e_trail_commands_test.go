package main_test

import (
	"archive/zip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// TestAuditCommands reads what a few requests have left, in every way.
func TestAuditCommands(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{audit: "  batch_interval: 200ms"})
	id := m.some(t, 3).header.Get("X-Sallyport-Decision-Id")
	denied := m.send(t, rest(m.token(t, "bob", ""), "GET", "/vehicles/V-1001", ""))
	m.denied(t, denied, http.StatusForbidden, "scopes.insufficient")
	m.indexed(t)

	says := func(want string, arguments ...string) string {
		t.Helper()
		output, code := m.audit(t, arguments...)
		if code != 0 || !strings.Contains(output, want) {
			t.Errorf("audit %q: exit code %d, want %q in: %s", arguments, code, want, output)
		}
		return output
	}
	says(id, "search", "--user", "alice", "--status", "allow")
	says("scopes.insufficient", "search", "--status", "deny", "--since", "1h", "--user", "bob")
	says(`"event_id"`, "search", "--json", "--type", "outcome")
	says(id, "search", "--text", id, "--since", "1h")
	says("alice", "show", id)
	says("ALLOWED", "explain", id)
	says("REFUSED  scopes", "explain", denied.header.Get("X-Sallyport-Decision-Id"))
	says("-", "status")
	says("start", "search", "--type", "service")
	if lines := strings.Count(says(`"class_uid":6003`, "export", "--format", "ocsf", "--type", "decision"), "\n"); lines < 7 {
		t.Errorf("%d decisions are exported", lines)
	}
	table, err := csv.NewReader(strings.NewReader(says("event_id", "export", "--format", "csv", "--user", "alice"))).ReadAll()
	if err != nil || len(table) != 7 {
		t.Errorf("%d lines of CSV, want 7: %v", len(table), err)
	}
	for line := range strings.Lines(says(id, "export")) {
		if _, err := audit.Parse([]byte(line)); err != nil {
			t.Errorf("%v: %s", err, line)
		}
	}

	says("Would be rebuilt", "rebuild", "--dry-run")
	says("Rebuilt", "rebuild")
	says(id, "search", "--user", "alice", "--status", "allow")

	for _, wrong := range [][]string{
		{"show", "01900000-0000-7000-8000-000000000000"}, {"search", "--since", "yesterday"}, {"export", "--format", "xml"},
		{"search", "--since", "2026-03-02", "--until", "2026-03-01"}, {"prove", "nothing"}, {"preflight"}, {"check-proof", m.config()},
	} {
		if output, code := m.audit(t, wrong...); code == 0 || output == "" {
			t.Errorf("audit %q: exit code %d: %s", wrong, code, output)
		}
	}
	m.evidence(t)
}

// evidence checks the bundle, and that nothing is verified where there is nothing.
func (m *mesh) evidence(t *testing.T) {
	t.Helper()
	file := filepath.Join(m.dir, "evidence.zip")
	if output, code := m.audit(t, "evidence", "--since", "24h", "--output", file, "--samples", "3"); code != 0 {
		t.Fatalf("evidence: exit code %d: %s", code, output)
	}
	bundle, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer bundle.Close()
	samples, err := fs.Glob(bundle, "samples/*.json")
	if err != nil || len(samples) != 3 {
		t.Fatalf("%d samples: %v", len(samples), err)
	}
	key := filepath.Join(m.dir, "keys.txt")
	proof := filepath.Join(m.dir, "sample.json")
	for from, to := range map[string]string{samples[0]: proof, "keys.txt": key} {
		text, err := fs.ReadFile(bundle, from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if output, code := m.audit(t, "check-proof", proof, "--key", key); code != 0 {
		t.Errorf("a sample: exit code %d: %s", code, output)
	}
	text, err := fs.ReadFile(bundle, "population.json")
	if err != nil {
		t.Fatal(err)
	}
	var days []struct{ Events int }
	if err := json.Unmarshal(text, &days); err != nil || len(days) == 0 || days[0].Events < 14 {
		t.Errorf("population %s: %v", text, err)
	}
	if output, code := m.audit(t, "verify", "--archive", t.TempDir(), "--key", key); code != 3 {
		t.Errorf("an empty archive: exit code %d: %s", code, output)
	}
	if output, code := m.audit(t, "verify", "--no-such-flag"); code != 3 {
		t.Errorf("a wrong flag: exit code %d, which says something about the archive: %s", code, output)
	}
}

// TestAuditTail follows the journal of a running service.
func TestAuditTail(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{audit: "  batch_interval: 1m"})
	first := m.some(t, 1).header.Get("X-Sallyport-Decision-Id")
	output, code := m.audit(t, "tail")
	if code != 0 || !strings.Contains(output, first) {
		t.Errorf("tail: exit code %d: %s", code, output)
	}
	command := exec.CommandContext(t.Context(), m.binary, "audit", "tail", "--follow", "--json", "--lines", "0", "--config", m.config())
	pipe, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = command.Wait() }()
	defer command.Process.Kill()
	decoder := json.NewDecoder(pipe)
	for seen := make(map[string]bool); len(seen) < 2; { // those before it began it doesn't show
		id := m.some(t, 1).header.Get("X-Sallyport-Decision-Id")
		var e struct {
			EventID string `json:"event_id"`
		}
		if err := decoder.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.EventID == first {
			t.Error("it shows what was there before")
		}
		seen[id] = true
	}
}

// TestErase forgets a user: events stay as they are, and nobody can tell any more
// whose they were.
func TestErase(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{later: true, audit: "  batch_interval: 200ms\n  pseudonymise_users: true\n  subject_key_files: [subject.key]"})
	m.write(t, "subject.key", strings.Repeat("0123456789abcdef", 4))
	m.startSallyport(t)
	m.startEnvoy(t)
	id := m.some(t, 2).header.Get("X-Sallyport-Decision-Id")
	m.indexed(t)
	if got := m.holding(t, "alice"); len(got) > 0 {
		t.Errorf("in clear in %v", got)
	}
	reveal := func() (string, int) { return m.audit(t, "show", id, "--reveal", "--why", "ticket 7") }
	if output, code := reveal(); code != 0 || !strings.Contains(output, "alice") {
		t.Errorf("reveal: exit code %d: %s", code, output)
	}
	who := []string{"--issuer", "dev", "--subject", "alice"}
	if output, code := m.audit(t, append([]string{"erase", "--why", "ticket 8", "--dry-run"}, who...)...); code != 0 {
		t.Errorf("dry run: exit code %d: %s", code, output)
	}
	if output, code := reveal(); code != 0 || !strings.Contains(output, "alice") {
		t.Errorf("a dry run erased: exit code %d: %s", code, output)
	}
	if output, code := m.audit(t, append([]string{"erase", "--why", "ticket 8"}, who...)...); code != 0 || strings.Contains(output, "alice") {
		t.Errorf("erase: exit code %d: %s", code, output)
	}
	if output, code := reveal(); code != 0 || strings.Contains(output, "alice") || !strings.Contains(output, "Erased") {
		t.Errorf("after erasure: exit code %d: %s", code, output)
	}
	if output, code := m.audit(t, append([]string{"erase", "--why", "again"}, who...)...); code == 0 {
		t.Errorf("erased twice: %s", output)
	}
	m.archived(t)
	m.verified(t, 6)
	if output, code := m.audit(t, "search", "--action", "subject.erase"); code != 0 || !strings.Contains(output, "subject.erase") {
		t.Errorf("the proof: exit code %d: %s", code, output)
	}
}

// holding are the files of the archive, the outbox and the database that have a
// text in clear. Batches are compressed; their events are looked at.
func (m *mesh) holding(t *testing.T, text string) (files []string) {
	t.Helper()
	for _, event := range m.events(t) {
		if strings.Contains(string(event), text) && strings.Contains(string(event), `"seq":`) {
			files = append(files, string(event))
		}
	}
	err := filepath.WalkDir(m.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(name, "/audit/archive/") && !strings.Contains(name, "events.db") {
			return err
		}
		content, err := os.ReadFile(name)
		if strings.Contains(string(content), text) {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestKeyRotation changes the key that signs. Who has the first public key alone
// verifies everything; the old key taken away too early is refused.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{later: true, audit: "  batch_interval: 200ms\n  signing_key_files: [first.key]"})
	generate := func(name string) string {
		output, err := exec.CommandContext(t.Context(), m.binary, "audit", "key", "generate", "-o", filepath.Join(m.dir, name)).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(output))
	}
	first := generate("first.key")
	generate("second.key")
	m.startSallyport(t)
	m.startEnvoy(t)
	m.some(t, 1)
	restart := func(keys string) {
		t.Helper()
		if err := m.sallyport.Stop(); err != nil {
			t.Fatal(err)
		}
		m.edit(t, "sallyport.yaml", "signing_key_files: [first.key]", "signing_key_files: ["+keys+"]")
		if keys == "second.key" {
			output, err := exec.CommandContext(t.Context(), m.binary, "serve", "--config", m.config()).CombinedOutput()
			if err == nil || !strings.Contains(string(output), "signing_key_files") {
				t.Errorf("started without the old key: %v: %s", err, output)
			}
			m.edit(t, "sallyport.yaml", "signing_key_files: ["+keys+"]", "signing_key_files: [first.key]")
			return
		}
		m.startSallyport(t)
	}
	restart("second.key")
	restart("second.key, first.key")
	eventually(t, 15*time.Second, "Envoy asks the new process", func() bool {
		return m.send(t, rest(m.token(t, "a", "vehicles.read"), "GET", "/vehicles/V-1001", "")).status == 200
	})
	id := m.some(t, 1).header.Get("X-Sallyport-Decision-Id")
	m.archived(t)
	if output, code := m.audit(t, "verify", "--key", first); code != 0 {
		t.Errorf("verify with the first key: exit code %d: %s", code, output)
	}
	proof := filepath.Join(m.dir, "proof.json")
	if output, code := m.audit(t, "prove", id, "-o", proof, "--key", first); code != 0 {
		t.Fatalf("prove: exit code %d: %s", code, output)
	}
	if output, code := m.audit(t, "check-proof", proof, "--key", first); code != 0 {
		t.Errorf("check-proof with the first key: exit code %d: %s", code, output)
	}
	foreign := generate("foreign.key")
	if output, code := m.audit(t, "verify", "--key", foreign); code != 1 || !strings.Contains(output, "_checkpoints/") {
		t.Errorf("verify with a foreign key: exit code %d: %s", code, output)
	}
	if output, code := m.audit(t, "check-proof", proof, "--key", foreign); code == 0 {
		t.Errorf("check-proof with a foreign key: %s", output)
	}
}

// TestCountedDenials: who sends garbage can't fill the trail, and still is in it.
func TestCountedDenials(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{audit: "  unauthenticated_per_second: 1"})
	const garbage = 200
	r := rest("", "GET", "/vehicles/V-1001", "")
	r.client = http2Client(t)
	for range garbage {
		if a := m.send(t, r); a.status != http.StatusUnauthorized {
			t.Fatalf("status %d", a.status)
		}
	}
	if err := m.sallyport.Stop(); err != nil {
		t.Fatal(err)
	}
	single, counted := len(m.decisions(t)), 0
	m.records(t, "denials", func(line []byte) {
		var e struct {
			Source, Reason string
			Count          int
		}
		if err := json.Unmarshal(line, &e); err != nil || e.Source != "127.0.0.0/24" || e.Reason != "authentication.missing" {
			t.Errorf("%v: %s", err, line)
		}
		counted += e.Count
	})
	if single+counted != garbage || single > garbage/2 {
		t.Errorf("%d denials have their own event, %d are counted; there were %d", single, counted, garbage)
	}
}

// TestLifeIsRecorded: starts, stops and reloads are events, as is what an
// administrator does while the service is stopped.
func TestLifeIsRecorded(t *testing.T) {
	t.Parallel()
	m := meshWithRedis(t, meshOptions{})
	m.startSallyport(t)
	m.edit(t, "tools.yaml", "    server: office\n    risk_level: privileged\n", "    server: office\n    risk_level: write\n")
	actions := func() (seen []string) {
		m.records(t, "service", func(line []byte) {
			var e struct{ Action, Failed string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, e.Action+map[bool]string{true: " failed"}[e.Failed != ""])
		})
		return seen
	}
	eventually(t, 10*time.Second, "the reload is recorded", func() bool { return fmt.Sprint(actions()) == "[start reload]" })
	m.write(t, "tools.yaml", "version: 7\n")
	eventually(t, 10*time.Second, "a failed reload is recorded", func() bool { return strings.HasPrefix(fmt.Sprint(actions()), "[start reload reload failed") })
	if err := m.sallyport.Stop(); err != nil {
		t.Fatal(err)
	}
	if seen := actions(); seen[len(seen)-1] != "stop" {
		t.Errorf("recorded %v", seen)
	}
	if output, ok := m.command(t, "token", "revoke", "--issuer", "dev", "--subject", "alice", "--why", "left"); !ok {
		t.Fatal(output)
	}
	m.recorded(t, "token.revoke", "left", "alice")
}
