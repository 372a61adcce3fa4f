package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// reloadTime is how long a reload may take on a busy machine. What is promised
// of revocations is checked for itself.
const reloadTime = 15 * time.Second

// is tells whether a request is decided with this reason now.
func (m *mesh) is(t *testing.T, r request, reason string) func() bool {
	return func() bool { return m.decision(t, m.send(t, r)).Reason == reason }
}

// shows tells whether a metric has this value now.
func (m *mesh) shows(t *testing.T, metric string, value int) func() bool {
	return func() bool {
		metrics, err := m.sallyport.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(metrics, fmt.Sprintf("\n%s %d\n", metric, value))
	}
}

const reloadFailed = "sallyport_reload_failed"

func (m *mesh) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReload changes files under a running service.
func TestReload(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read services.write")
	search := callTool(token, "search_vehicles", `{}`)
	added := callTool(token, "cancel_service", `{"booking_id":"B-1"}`)

	t.Run("tool added", func(t *testing.T) {
		m.denied(t, m.send(t, added), http.StatusOK, "operation.unknown_tool")
		m.edit(t, "tools.yaml", "tools:\n", "tools:\n  - {name: cancel_service, server: dealership, risk_level: write}\n")
		eventually(t, reloadTime, "the new tool is allowed", m.is(t, added, "allowed"))
		m.allowed(t, m.send(t, added), "dealership")
	})
	t.Run("tool removed", func(t *testing.T) {
		m.edit(t, "tools.yaml", "tools:\n  - {name: cancel_service, server: dealership, risk_level: write}\n", "tools:\n")
		eventually(t, reloadTime, "the tool is refused again", m.is(t, added, "operation.unknown_tool"))
	})
	for file, c := range map[string]struct{ mistake, metric string }{
		"tools.yaml":       {"risk_level: dangerous", reloadFailed},
		"sallyport.yaml":   {"serverss: []", reloadFailed},
		"revocations.yaml": {"revocations: yes", "sallyport_revocations_failed"}, // which has a life of its own
	} {
		t.Run("mistake in "+file, func(t *testing.T) { m.survives(t, file, c.mistake, c.metric, search) })
	}
	t.Run("what is fixed at the start", func(t *testing.T) {
		m.survives(t, "sallyport.yaml", "transaction_safety: {max_response_bytes: 2048}", reloadFailed, search)
	})
	t.Run("file gone for a while", func(t *testing.T) {
		path := filepath.Join(m.dir, "tools.yaml")
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		eventually(t, reloadTime, "the failed reload shows", m.shows(t, reloadFailed, 1))
		m.allowed(t, m.send(t, search), "dealership")
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		eventually(t, reloadTime, "the file is back", m.shows(t, reloadFailed, 0))
	})
	t.Run("SIGHUP", func(t *testing.T) {
		if err := syscall.Kill(m.sallyport.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, reloadTime, "it reloads", func() bool { return strings.Contains(m.log.String(), `"cause":"SIGHUP"`) })
		m.allowed(t, m.send(t, search), "dealership")
	})
	t.Run("issuer added", func(t *testing.T) {
		third := startIssuer(t)
		call := callTool(mint(t, third, m.tokenOptions("alice", "vehicles.read")), "search_vehicles", `{}`)
		m.denied(t, m.send(t, call), http.StatusUnauthorized, "authentication.issuer")
		before := m.read(t, "sallyport.yaml")
		m.edit(t, "sallyport.yaml", "issuers:\n", fmt.Sprintf("issuers:\n  - {name: third, issuer: %q}\n", third.URL()))
		eventually(t, reloadTime, "the new issuer is accepted", m.is(t, call, "allowed"))
		if d := m.decision(t, m.send(t, call)); d.Principal.Issuer != "third" {
			t.Errorf("recorded as a token of %q", d.Principal.Issuer)
		}
		m.write(t, "sallyport.yaml", before)
		eventually(t, reloadTime, "the issuer is refused again", m.is(t, call, "authentication.issuer"))
	})
	t.Run("server that Envoy doesn't have", func(t *testing.T) {
		before := m.read(t, "sallyport.yaml")
		m.edit(t, "sallyport.yaml", "path: /office\n    resource: "+m.url+"/office", "path: /annex\n    resource: "+m.url+"/annex")
		annex := callTool(m.token(t, "alice", "", func(o *devissuer.TokenOptions) { o.Audience = append(o.Audience, m.url+"/annex") }), "search_vehicles", `{}`)
		annex.path = "/annex"
		eventually(t, reloadTime, "the new configuration is in use", m.is(t, annex, "route.mismatch"))
		m.denied(t, m.send(t, annex), http.StatusNotFound, "route.mismatch")
		m.denied(t, m.send(t, toOffice(search)), http.StatusNotFound, "route.mismatch")
		m.write(t, "sallyport.yaml", before)
		eventually(t, reloadTime, "the old configuration is back", m.is(t, toOffice(search), "allowed"))
	})
}

// survives makes a mistake in a file and corrects it; the request is allowed all
// the time.
func (m *mesh) survives(t *testing.T, file, mistake, metric string, r request) {
	good := m.read(t, file)
	m.write(t, file, good+"\n"+mistake+"\n")
	eventually(t, reloadTime, "the failed reload shows", m.shows(t, metric, 1))
	place := fmt.Sprintf("%s:%d", file, strings.Count(good, "\n")+2)
	if strings.HasPrefix(mistake, "transaction_safety") {
		place = "transaction_safety.max_response_bytes changed" // right in itself
	}
	eventually(t, reloadTime, "the log says that "+place+" is wrong", func() bool { // it comes through a pipe
		log := m.log.String()
		return strings.Contains(log, "the old one stays") && strings.Contains(log, place)
	})
	m.allowed(t, m.send(t, r), "dealership")
	if err := m.sallyport.Ready(t.Context()); err != nil {
		t.Errorf("it isn't ready any more: %v", err)
	}
	m.write(t, file, good)
	eventually(t, reloadTime, "the repaired file shows", m.shows(t, metric, 0))
	m.allowed(t, m.send(t, r), "dealership")
}

// TestRevocation revokes callers while the service is busy writing its decisions
// beside the watched files. A second is promised.
func TestRevocation(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	client := http2Client(t)
	for range 2 {
		busy := m.token(t, "busy", "")
		group.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+"/vehicles/V-1001", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+busy)
				if response, err := client.Do(req); err == nil {
					response.Body.Close()
				}
			}
		})
	}
	// A machine that stalls for a second is no fault of the service.
	const tries = 3
	for try := range tries {
		subject := fmt.Sprint("leaver-", try)
		call := callTool(m.token(t, subject, "vehicles.read"), "search_vehicles", `{}`)
		m.allowed(t, m.send(t, call), "dealership")
		m.write(t, "revocations.yaml", fmt.Sprintf("version: 1\nrevocations:\n  - {issuer: dev, subject: %s}\n", subject))
		start := time.Now()
		eventually(t, reloadTime, "the subject is revoked", m.is(t, call, "revocation.revoked"))
		took := time.Since(start)
		a := m.send(t, call)
		m.denied(t, a, http.StatusUnauthorized, "revocation.revoked")
		if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer error="invalid_token"`) {
			t.Errorf("challenge %s", a.header.Get("WWW-Authenticate"))
		}
		// Others are not touched.
		m.allowed(t, m.send(t, callTool(m.token(t, "stayer", "vehicles.read"), "search_vehicles", `{}`)), "dealership")
		if took <= time.Second {
			return
		}
		t.Logf("a revocation took %v", took)
	}
	t.Errorf("none of %d revocations took effect within a second", tries)
}

// TestChangeDuringStart edits a file after it was read and before it is watched.
func TestChangeDuringStart(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{later: true})
	before := m.read(t, "tools.yaml")
	m.edit(t, "tools.yaml", "tools:\n", "tools:\n  - {name: cancel_service, server: dealership, risk_level: write}\n")
	m.write(t, "next.yaml", m.read(t, "tools.yaml"))
	m.write(t, "tools.yaml", before)
	var once sync.Once
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		once.Do(func() { // it is asked for its keys once the catalogue is loaded
			if err := os.Rename(filepath.Join(m.dir, "next.yaml"), filepath.Join(m.dir, "tools.yaml")); err != nil {
				t.Error(err)
			}
		})
		http.Error(w, "no keys here", http.StatusNotFound)
	}))
	defer issuer.Close()
	m.edit(t, "sallyport.yaml", "issuers:\n", fmt.Sprintf("issuers:\n  - {name: keyless, issuer: %q}\n", issuer.URL))
	m.startSallyport(t)
	m.startEnvoy(t)
	added := callTool(m.token(t, "alice", ""), "cancel_service", `{"booking_id":"B-1"}`)
	eventually(t, reloadTime, "the new tool is allowed", m.is(t, added, "allowed"))
}

// TestRevocationDuringReload revokes a caller while a reload waits for the keys
// of a new issuer: the reload must not bring back the list that it began with.
func TestRevocationDuringReload(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-answer:
		case <-r.Context().Done():
		}
		http.Error(w, "no keys here", http.StatusNotFound)
	}))
	defer slow.Close()
	call := callTool(m.token(t, "leaver", "vehicles.read"), "search_vehicles", `{}`)
	m.allowed(t, m.send(t, call), "dealership")

	m.edit(t, "sallyport.yaml", "issuers:\n", fmt.Sprintf("issuers:\n  - {name: slow, issuer: %q}\n", slow.URL))
	<-asked
	m.write(t, "revocations.yaml", "version: 1\nrevocations:\n  - {issuer: dev, subject: leaver}\n")
	eventually(t, reloadTime, "the subject is revoked", m.is(t, call, "revocation.revoked"))
	close(answer)
	reloaded := func() bool { return strings.Contains(m.log.String(), `"msg":"configuration reloaded"`) }
	eventually(t, reloadTime, "the configuration is reloaded", func() bool {
		// In between, too.
		m.denied(t, m.send(t, call), http.StatusUnauthorized, "revocation.revoked")
		return reloaded()
	})
	m.denied(t, m.send(t, call), http.StatusUnauthorized, "revocation.revoked")
}
