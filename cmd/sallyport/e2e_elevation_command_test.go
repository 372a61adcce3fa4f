package main_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/webhook"
)

// elevateCommand runs `sallyport elevate` as somebody, and returns what it said and its
// exit code.
func (e *elevations) elevateCommand(t *testing.T, token string, arguments ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.binary, append([]string{"elevate", "--url", e.url, "--token-file", "-"}, arguments...)...)
	cmd.Stdin = strings.NewReader(token)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// The whole way at the command line, with those who are told by webhook.
func TestElevateCommands(t *testing.T) {
	t.Parallel()
	told := &receiver{}
	address := serve(t, told)
	e := startElevations(t, elevationOptions{
		pim: []string{approvedHere, "webhooks: [{url: 'http://" + address + "/hook', key_files: [webhook-key]}]"},
		files: func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "webhook-key"), []byte(claimKey), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	})
	alice, bob := e.caller(t, "alice"), e.caller(t, "bob", roles("approver"))
	said := func(token string, wantCode int, want string, arguments ...string) string {
		t.Helper()
		output, code := e.elevateCommand(t, token, arguments...)
		if code != wantCode || !strings.Contains(output, want) {
			t.Errorf("%q: exit code %d, %s; want %d and %q", arguments, code, output, wantCode, want)
		}
		return output
	}
	said(alice, 1, "reason: one is required", "request", "refund")
	said(alice, 2, "--url", "request", "refund", "--url", "http://elsewhere.example")
	output := said(alice, 0, `"status":"pending"`, "request", "refund", "--reason", "charged twice", "--duration", "1m", "-o", "json")
	id := stringMember(output, "request_id")
	said(alice, 0, id, "list", "--state", "pending")
	said(bob, 0, "charged twice", "show", id)
	said(alice, 1, "own request", "approve", id, "--yes")
	said(bob, 0, "approved", "approve", id, "--yes", "--comment", "agreed")
	e.comes(t, func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }, "200")
	said(bob, 0, "revoked", "revoke", id, "--why", "enough")
	e.comes(t, func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }, "elevation.revoked")
	other := stringMember(said(alice, 3, "pending", "request", "delete_order", "--reason", "x", "--wait", "--wait-timeout", "1s", "-o", "json"), "request_id")
	said(bob, 0, "denied", "deny", other, "--comment", "no")
	eventually(t, 10*time.Second, "webhooks tell of everything", func() bool { return len(told.types()) >= 5 })
	if got := strings.Join(told.types(), " "); got != "elevation.requested elevation.approved elevation.revoked elevation.requested elevation.denied" {
		t.Errorf("told of %s", got)
	}
	told.verify(t)
}

// stringMember is of the first member of that name in JSON.
func stringMember(text, name string) string {
	_, text, _ = strings.Cut(text, `"`+name+`":"`)
	text, _, _ = strings.Cut(text, `"`)
	return text
}

// receiver is who is told.
type receiver struct {
	mu      sync.Mutex // guards what follows
	notices []*http.Request
	bodies  [][]byte
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 64<<10))
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notices, r.bodies = append(r.notices, req), append(r.bodies, body)
}

// types are those of the notices so far, in their order.
func (r *receiver) types() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.bodies {
		all = append(all, stringMember(string(body), "type"))
	}
	return all
}

// verify finds that each was signed, and would be refused if anything were changed.
func (r *receiver) verify(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	key := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31}
	for i, notice := range r.notices {
		check := func(key, body []byte, now time.Time) error {
			return webhook.Verify([][]byte{key}, notice.Header, body, now, 5*time.Minute)
		}
		if err := check(key, r.bodies[i], time.Now()); err != nil {
			t.Errorf("notice %d: %v", i, err)
		}
		forged := bytes.Replace(r.bodies[i], []byte(`"alice"`), []byte(`"mallo"`), 1)
		if check(key, forged, time.Now()) == nil || check(bytes.Repeat(key[:16], 2), r.bodies[i], time.Now()) == nil || check(key, r.bodies[i], time.Now().Add(time.Hour)) == nil {
			t.Errorf("notice %d is taken for genuine when it is forged or replayed", i)
		}
		if strings.Contains(string(r.bodies[i]), "arguments") {
			t.Errorf("notice %d has arguments: %s", i, r.bodies[i])
		}
	}
}
