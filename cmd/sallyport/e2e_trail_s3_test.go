package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/internal/testenv"
)

const (
	trailBucket = "trail"
	trailWriter = "writer"
)

// meshWithS3 archives to a bucket of a server with Object Lock. The test starts it.
func meshWithS3(t *testing.T, mode string, locked bool, lines string) (*mesh, *testenv.S3) {
	t.Helper()
	server := testenv.S3For(t, testenv.S3Options{Users: []string{trailWriter}})
	if err := server.CreateBucket(t.Context(), trailBucket, locked); err != nil {
		t.Fatal(err)
	}
	err := server.Allow(t.Context(), trailBucket, map[string][]string{trailWriter: {
		"s3:PutObject", "s3:PutObjectRetention", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:GetObjectLegalHold",
		"s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning",
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := startMesh(t, meshOptions{later: true, audit: fmt.Sprintf(`  batch_interval: 200ms
  heartbeat_interval: 1s
  signing_key_files: [audit.key]
  s3_enabled: true
  s3_bucket: %s
  s3_region: us-east-1
  s3_endpoint: %s
  s3_path_style: true
  s3_object_lock_mode: %s
  s3_access_key_file: access
  s3_secret_key_file: secret
%s`, trailBucket, server.Endpoint(), mode, lines)})
	m.write(t, "access", trailWriter)
	m.write(t, "secret", testenv.S3Secret(trailWriter))
	if output, err := exec.CommandContext(t.Context(), m.binary, "audit", "key", "generate", "--output", filepath.Join(m.dir, "audit.key")).CombinedOutput(); err != nil {
		t.Fatalf("key: %v: %s", err, output)
	}
	return m, server
}

// metric is the value of one series.
func (m *mesh) metric(t *testing.T, name string) string {
	t.Helper()
	response, err := http.Get("http://" + m.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// archived waits until everything that was recorded so far is in the archive.
func (m *mesh) archived(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "everything is archived", func() bool {
		return m.metric(t, `sallyport_audit_events{stage="archived"}`) == m.metric(t, `sallyport_audit_events{stage="recorded"}`)
	})
}

// some sends reads and writes that must be allowed: the first of alice, others of
// others, before anybody is over a limit.
func (m *mesh) some(t *testing.T, n int) (last answer) {
	t.Helper()
	for i := range n {
		if i%5 == 0 {
			m.callers++
		}
		caller := "alice"
		if m.callers > 1 {
			caller = fmt.Sprintf("caller-%d", m.callers)
		}
		token := m.token(t, caller, "vehicles.read services.write")
		m.allowed(t, m.send(t, rest(token, "GET", "/vehicles/V-1001", "")), "api")
		last = m.send(t, rest(token, "POST", "/services", `{"vehicle_id":"V-1001","customer_id":"C-1","date":"2027-03-01"}`))
		m.allowed(t, last, "api")
	}
	return last
}

// TestTrailInS3 archives to locked storage: what is there can't be taken away or
// changed, and a byte that is changed behind the server's back is found.
func TestTrailInS3(t *testing.T) {
	t.Parallel()
	m, server := meshWithS3(t, "COMPLIANCE", true, "")
	m.startSallyport(t)
	m.startEnvoy(t)
	id := m.some(t, 5).header.Get("X-Sallyport-Decision-Id")
	m.archived(t)
	m.verified(t, 10)
	if output, code := m.audit(t, "verify"); code != 0 || !strings.Contains(output, "s3://"+trailBucket) {
		t.Errorf("verify: exit code %d: %s", code, output)
	}

	m.write(t, "root-access", "root")
	m.write(t, "root-secret", testenv.S3Secret("root"))
	output, code := m.audit(t, "preflight", "--access-key-file", m.dir+"/root-access", "--secret-key-file", m.dir+"/root-secret", "--json")
	var report archive.Report
	if err := json.Unmarshal([]byte(output), &report); err != nil || code != 0 || !report.Refused() || len(report.Attempts) < 4 {
		t.Errorf("preflight as root: exit code %d, %v: %s", code, err, output)
	}

	// The write has an object of its own.
	key, err := ledger.EventKey(id)
	if err != nil {
		t.Fatal(err)
	}
	file := server.File(trailBucket, key)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	proof := filepath.Join(m.dir, "proof.json")
	if output, code := m.audit(t, "prove", id, "-o", proof); code != 0 {
		t.Errorf("prove: exit code %d: %s", code, output)
	}
	flipped := bytes.Clone(text)
	flipped[100] ^= 1
	if err := os.WriteFile(file, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, code := m.audit(t, "verify", "--no-index"); code != 1 || !strings.Contains(output, key) || !strings.Contains(output, "event ") {
		t.Errorf("a changed byte: exit code %d: %s", code, output)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	m.verified(t, 10)
	public, code := m.audit(t, "key", "public")
	if code != 0 {
		t.Fatal(public)
	}
	if output, code := m.audit(t, "check-proof", proof, "--key", strings.TrimSpace(public)); code != 0 || !strings.Contains(output, id) {
		t.Errorf("check-proof: exit code %d: %s", code, output)
	}
}

// TestGovernanceSaysSo: with GOVERNANCE a role that may bypass it can delete, and
// preflight doesn't hide that.
func TestGovernanceSaysSo(t *testing.T) {
	t.Parallel()
	m, _ := meshWithS3(t, "GOVERNANCE", true, "")
	m.write(t, "root-access", "root")
	m.write(t, "root-secret", testenv.S3Secret("root"))
	if output, code := m.audit(t, "preflight", "--access-key-file", m.dir+"/root-access", "--secret-key-file", m.dir+"/root-secret"); code != 1 || !strings.Contains(output, "NOT REFUSED") {
		t.Errorf("as root: exit code %d: %s", code, output)
	}
	if output, code := m.audit(t, "preflight"); code != 0 || strings.Contains(output, "NOT REFUSED") {
		t.Errorf("as the writer: exit code %d: %s", code, output)
	}
}

// TestBucketWithoutLock is refused at the start.
func TestBucketWithoutLock(t *testing.T) {
	t.Parallel()
	m, _ := meshWithS3(t, "COMPLIANCE", false, "")
	output, err := exec.CommandContext(t.Context(), m.binary, "serve", "--config", m.config()).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err == nil || !isExit(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(output), "Object Lock") {
		t.Errorf("%v: %s", err, output)
	}
}

func isExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError) //nolint:errorlint // as it is
	*exit = e
	return ok
}

// TestS3Away: no request waits for S3, not at the start either; what was recorded
// meanwhile is archived when it is back, once.
func TestS3Away(t *testing.T) {
	t.Parallel()
	m, server := meshWithS3(t, "COMPLIANCE", true, "")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	m.startSallyport(t)
	m.startEnvoy(t)
	m.some(t, 20)
	eventually(t, 15*time.Second, "the archive is known to fail", func() bool { return m.metric(t, `sallyport_audit_failing{part="archive"}`) == "1" })
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.archived(t)
	// Again, in the middle of deliveries.
	for range 3 {
		m.some(t, 10)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		m.some(t, 5)
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.archived(t)
	m.verified(t, 130)
}

// TestS3AwayForTooLong: when the journal may not grow any more requests are
// refused, and go on by themselves when S3 is back.
func TestS3AwayForTooLong(t *testing.T) {
	t.Parallel()
	m, server := meshWithS3(t, "COMPLIANCE", true, "  when_full: read_only")
	m.startSallyport(t)
	m.startEnvoy(t)
	m.some(t, 1)
	m.archived(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	// What waits is nearly as much as may: a file in the outbox stands for it.
	if err := m.sallyport.Stop(); err != nil {
		t.Fatal(err)
	}
	m.ballast(t, 61<<20) // of 64 MiB: beyond 90 percent, and 95
	m.startSallyport(t)
	token := m.token(t, "alice", "vehicles.read services.write")
	read, write := rest(token, "GET", "/vehicles/V-1001", ""), rest(token, "POST", "/services", `{"vehicle_id":"V-1001","customer_id":"C-1","date":"2027-03-01"}`)
	refused := func(r request) {
		t.Helper()
		if a := m.send(t, r); a.status != http.StatusServiceUnavailable || refusalOf(a) != "audit.unavailable" || m.decision(t, a).Effect != "deny" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	eventually(t, 15*time.Second, "reads are refused", m.is(t, read, "audit.unavailable"))
	refused(write)
	m.ballast(t, 59<<20) // between 90 and 95 percent: reads only
	if err := m.sallyport.Stop(); err != nil {
		t.Fatal(err)
	}
	m.startSallyport(t)
	eventually(t, 15*time.Second, "reads are allowed", m.is(t, read, "allowed"))
	refused(write)
	m.ballast(t, 0)
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "writes are allowed", func() bool { return m.send(t, write).status == http.StatusCreated })
	m.archived(t)
	m.verified(t, 4)
}

// ballast makes the newest cut of the outbox as much larger; 0: as it was.
func (m *mesh) ballast(t *testing.T, size int64) {
	t.Helper()
	cuts, err := filepath.Glob(filepath.Join(m.dir, "audit/outbox/*.batch"))
	if err != nil || len(cuts) == 0 {
		t.Fatalf("nothing waits in the outbox: %v", err)
	}
	if m.cut == "" {
		m.cut = cuts[len(cuts)-1]
		info, err := os.Stat(m.cut)
		if err != nil {
			t.Fatal(err)
		}
		m.cutSize = info.Size()
	}
	if err := os.Truncate(m.cut, m.cutSize+size); err != nil {
		t.Fatal(err)
	}
}
