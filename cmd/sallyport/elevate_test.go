package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"github.com/sallyport/sallyport/pim/webhook"
)

func TestElevateRequestAndDecide(t *testing.T) {
	t.Parallel()
	w := newElevateWorld(t)
	asked := w.run("alice", "request", "refund", "--reason", "ticket 7", "--duration", "15m", "-o", "json").item(t)
	if asked.Status != "pending" || asked.DurationSeconds != 900 || asked.Reason != "ticket 7" || asked.URL != w.url+"/api/auth/elevations/"+asked.ID {
		t.Errorf("%+v", asked)
	}
	if r := w.run("alice", "show", asked.ID); r.code != 0 || !strings.Contains(r.out, "pending") || !strings.Contains(r.out, "refund of desk") || !strings.Contains(r.out, asked.URL) {
		t.Errorf("shown: %+v", r)
	}
	if r := w.run("alice", "approve", asked.ID, "--yes"); r.code != 1 || !strings.Contains(r.stderr, "elevation.self") {
		t.Errorf("an own request: %+v", r)
	}
	if r := w.run("lead-bob", "approve", asked.ID); r.code != 2 || !strings.Contains(r.stderr, "--yes") {
		t.Errorf("without a terminal: %+v", r)
	}
	if r := w.run("lead-bob", "approve", asked.ID, "--yes", "--comment", "ok"); r.code != 0 || !strings.Contains(r.out, "is approved, until ") || !strings.Contains(r.stderr, "ticket 7") {
		t.Errorf("%+v", r)
	}
	if r := w.run("lead-bob", "approve", asked.ID, "--yes"); r.code != 1 || !strings.Contains(r.stderr, "is approved") {
		t.Errorf("twice: %+v", r)
	}
	if r := w.run("lead-bob", "deny", asked.ID); r.code != 1 || !strings.Contains(r.stderr, "elevation.state") {
		t.Errorf("%+v", r)
	}
	if r := w.run("lead-bob", "revoke", asked.ID); r.code != 2 || !strings.Contains(r.stderr, "--why") {
		t.Errorf("%+v", r)
	}
	if r := w.run("lead-bob", "revoke", asked.ID, "--why", "a mistake", "-o", "json"); r.item(t).Why != "a mistake" {
		t.Errorf("%+v", r)
	}
	second := w.run("alice", "request", "refund", "-o", "json").item(t)
	if r := w.run("alice", "cancel", second.ID); r.code != 0 || !strings.Contains(r.out, "is cancelled") {
		t.Errorf("%+v", r)
	}
	if r := w.run("carol", "show", asked.ID); r.code != 1 || !strings.Contains(r.stderr, "elevation.unknown") {
		t.Errorf("somebody else: %+v", r)
	}
}

func TestElevateRevokeHolder(t *testing.T) {
	t.Parallel()
	w := newElevateWorld(t)
	holder := []string{"revoke", "--principal", "id-carol", "--server", "desk", "--tool", "refund", "--duration", "8h", "--why", "left"}
	if r := w.run("lead-bob", append(holder, "-o", "json")...); r.item(t).Status != "revoked" || r.item(t).DurationSeconds != 8*3600 {
		t.Errorf("%+v", r)
	}
	if r := w.run("alice", holder...); r.code != 1 || !strings.Contains(r.stderr, "elevation.not_approver") {
		t.Errorf("%+v", r)
	}
	if r := w.run("lead-bob", append(holder, "an-id")...); r.code != 2 {
		t.Errorf("both: %+v", r)
	}
	if r := w.run("lead-bob", holder[:5]...); r.code != 2 {
		t.Errorf("half: %+v", r)
	}
}

// What is approved is shown as it is, whatever its author wants to be seen.
func TestElevateShowsTheExactCall(t *testing.T) {
	t.Parallel()
	w := newElevateWorld(t)
	arguments := filepath.Join(t.TempDir(), "call.json")
	if err := os.WriteFile(arguments, []byte("{\"to\":\"acme\u202e\u009b2J\\u001b[2J\",\"amount\":700}"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked := w.run("alice", "request", "pay", "--reason", "x\x1b[2Jy", "--arguments", "@"+arguments, "-o", "json").item(t)
	r := w.run("lead-bob", "approve", asked.ID, "--yes")
	for _, want := range []string{`"amount": 700`, `\u202e`, `\u009b2J`, `\u001b[2J`, "Arguments of the call:"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q isn't shown: %s", want, r.stderr)
		}
	}
	for _, out := range []string{r.stderr, r.out, w.run("lead-bob", "list").out, w.run("lead-bob", "show", asked.ID).out} {
		if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q reaches the terminal", out[i:])
		}
	}
	asked = w.runWith(t.Context(), "alice", `{"amount":1}`, "request", "transfer", "--method", "POST", "--path", "/transfers?to=a", "--content-type", "application/json", "--body", "-", "-o", "json").item(t)
	if shown := w.run("lead-bob", "show", asked.ID); !strings.Contains(shown.out, `"path": "/transfers?to=a"`) || !strings.Contains(shown.out, `"body": "{\"amount\":1}"`) {
		t.Errorf("%s", shown.out)
	}
}

func TestElevateWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		action []string // of the approver; nil: nothing happens
		code   int
	}{
		{"approved", []string{"approve", "--yes"}, 0},
		{"denied", []string{"deny"}, 4},
		{"nobody decides", nil, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newElevateWorld(t)
			var group sync.WaitGroup
			if tt.action != nil {
				group.Go(func() { w.decidesLater(tt.action) })
			}
			wait := "30s"
			if tt.action == nil {
				wait = "1s"
			}
			r := w.run("alice", "request", "refund", "--wait", "--wait-timeout", wait)
			group.Wait()
			if r.code != tt.code || tt.action != nil && !strings.Contains(r.stderr, "away") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// decidesLater decides on the first request, after the service was away for a while.
func (w *elevateWorld) decidesLater(action []string) {
	for range 600 {
		list := w.run("lead-bob", "list", "--state", "pending", "-o", "json")
		if item, err := itemOf(json.RawMessage(list.out), nil); err == nil {
			w.away.Store(true)
			time.Sleep(2500 * time.Millisecond) // who waits asks in between
			w.away.Store(false)
			w.run("lead-bob", append(action, item.ID)...).done(w.t)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Error("nothing was asked for")
}

func TestElevateList(t *testing.T) {
	t.Parallel()
	w := newElevateWorld(t)
	for i := range 7 {
		w.run("alice", "request", "tool-"+strconv.Itoa(i), "--reason", "x").done(t)
	}
	if r := w.run("alice", "list", "-n", "3"); strings.Count(r.out, "\n") != 4 || !strings.Contains(r.stderr, "There are more") || !strings.Contains(r.out, "tool-6 of desk") {
		t.Errorf("%+v", r)
	}
	r := w.run("alice", "list", "-o", "json", "--kind", "elevation", "--state", "pending")
	if lines := strings.Split(strings.TrimSpace(r.out), "\n"); len(lines) != 7 || !json.Valid([]byte(lines[6])) || r.stderr != "" {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"list", "--state", "x"}, {"list", "--kind", "x"}, {"list", "-n", "0"}, {"list", "x"}, {"list", "-o", "yaml"}, {"list", "--nope"}, {"show"}, {"nope"}} {
		if r := w.run("alice", args...); r.code != 2 {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

// done checks that it did what it should.
func (r ran) done(t *testing.T) {
	t.Helper()
	if r.code != 0 {
		t.Errorf("%+v", r)
	}
}

func TestElevateUsage(t *testing.T) {
	t.Parallel()
	w := newElevateWorld(t)
	for name, args := range map[string][]string{
		"a part of a second": {"request", "x", "--duration", "1500ms"},
		"no time":            {"request", "x", "--duration", "0s"},
		"no object":          {"request", "x", "--arguments", "[]"},
		"no JSON":            {"request", "x", "--arguments", "{"},
		"no file":            {"request", "x", "--arguments", "@/nonexistent"},
		"both calls":         {"request", "x", "--arguments", "{}", "--path", "/"},
		"no method":          {"request", "x", "--path", "/"},
		"no tool":            {"request"},
	} {
		if r := w.run("alice", args...); r.code != 2 || r.stderr == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if w.asked.Load() != 0 {
		t.Error("the service was asked")
	}
	for name, args := range map[string][]string{
		"no URL":        {"list"},
		"plain http":    {"list", "--url", "http://mcp.example"},
		"a name":        {"list", "--url", "http://127.0.0.1.mcp.example"},
		"a path":        {"list", "--url", "https://mcp.example/mcp"},
		"a query":       {"list", "--url", "https://mcp.example?x"},
		"a user":        {"list", "--url", "https://a:b@mcp.example"},
		"no URL at all": {"list", "--url", "mcp.example"},
	} {
		if r := runElevate(t.Context(), "alice", append(args, "--token-file", "-")...); r.code != 2 || !strings.Contains(r.stderr, "--url") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, args := range map[string][]string{
		"no token":        {"list", "--url", "https://mcp.example"},
		"no token file":   {"list", "--url", "https://mcp.example", "--token-file", "/nonexistent"},
		"an empty token":  {"list", "--url", "https://mcp.example", "--token-file", "-"},
		"no certificates": {"list", "--url", w.url, "--token-file", os.DevNull, "--ca-file", os.DevNull},
	} {
		if r := runElevate(t.Context(), "", args...); r.code != 2 || r.stderr == "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, cmd := range newElevateCommand().Commands() {
		if cmd.Flags().Lookup("token") != nil {
			t.Errorf("%s takes a token as an argument", cmd.Name())
		}
	}
	if r := runElevate(t.Context(), "alice", "list", "--url", w.url, "--token-file", "-"); r.code != 0 {
		t.Errorf("the token from standard input: %+v", r)
	}
	if r := runElevate(t.Context(), "not a token\x1b", "list", "--url", w.url, "--token-file", "-"); r.code != 2 || strings.Contains(r.stderr, "not a token") {
		t.Errorf("what isn't a token: %+v", r)
	}
}

// The token goes where the command line says, and nowhere else.
func TestElevateFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	var leaked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Store(true) }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	if r := runElevate(t.Context(), "alice", "list", "--url", server.URL, "--token-file", "-"); r.code != 1 || leaked.Load() || !strings.Contains(r.stderr, "307") {
		t.Errorf("leaked: %v, %+v", leaked.Load(), r)
	}
}

// syncBuffer is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestElevateWatch(t *testing.T) {
	t.Parallel()
	w := newElevateWorld(t)
	before := w.run("alice", "request", "before", "-o", "json").item(t)
	denied := w.run("alice", "request", "denied", "-o", "json").item(t)
	w.run("lead-bob", "deny", denied.ID).done(t)

	ctx, cancel := context.WithCancel(t.Context())
	out, ended := &syncBuffer{}, make(chan error, 1)
	cmd := newElevateCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs([]string{"watch", "--interval", "1s", "--url", w.url, "--token-file", "-"})
	cmd.SetIn(strings.NewReader("lead-bob"))
	cmd.SetOut(out)
	cmd.SetErr(io.Discard)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	shows := func(n int, want ...string) {
		t.Helper()
		for range 600 {
			if strings.Count(out.String(), "\n") >= n {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		lines := strings.Split(out.String(), "\n")
		for _, text := range want {
			if len(lines) <= n || !strings.Contains(lines[n-1], text) {
				t.Fatalf("line %d has no %q:\n%s", n, text, out)
			}
		}
	}
	shows(1, before.ID, "pending", "before of desk", "alice")
	w.run("lead-bob", "approve", before.ID, "--yes").done(t)
	shows(2, before.ID, "approved")
	w.away.Store(true)
	time.Sleep(1500 * time.Millisecond)
	w.away.Store(false)
	after := w.run("alice", "request", "after", "-o", "json").item(t)
	shows(3, after.ID, "pending")
	for i := range largestPage { // more than fit into the first page beside the others
		w.run("user-"+strconv.Itoa(i), "request", "more").done(t)
	}
	shows(3 + largestPage)
	w.run("lead-bob", "deny", after.ID).done(t)
	shows(4+largestPage, after.ID, "denied")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if strings.Count(out.String(), "\n") != 4+largestPage {
		t.Errorf("%s", out)
	}
}

func TestVerifyWebhookCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := []byte("0123456789abcdef0123456789abcdef")
	file, body := filepath.Join(dir, "key"), []byte(`{"type":"elevation.requested"}`)
	if err := os.WriteFile(file, []byte(strings.ToLower("3031323334353637383961626364656630313233343536373839616263646566")), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	header := http.Header{}
	if err := webhook.Sign(header, [][]byte{key}, "msg_1", now, body); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"verify-webhook", "--key-file", file, "--id", "msg_1",
		"--timestamp", header.Get(webhook.TimestampHeader), "--signature", header.Get(webhook.SignatureHeader),
	}
	if r := runElevate(t.Context(), string(body), args...); r.code != 0 || !strings.Contains(r.out, "good") {
		t.Errorf("%+v", r)
	}
	if r := runElevate(t.Context(), string(body)+"\n", args...); r.code != 1 || !strings.Contains(r.stderr, "signature") {
		t.Errorf("another body: %+v", r)
	}
	if r := runElevate(t.Context(), string(body), append(args, "--at", now.Add(time.Hour).Format(time.RFC3339))...); r.code != 1 {
		t.Errorf("later: %+v", r)
	}
	if r := runElevate(t.Context(), string(body), args[:5]...); r.code != 2 {
		t.Errorf("without a signature: %+v", r)
	}
}
