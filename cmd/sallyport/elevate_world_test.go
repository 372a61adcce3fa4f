package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/api"
	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/pim"
)

// elevateAccess knows everybody by the token; "lead-…" may approve.
type elevateAccess struct{ rule authz.ElevationRule }

func (a *elevateAccess) principal(req *authz.Request) (*identity.Principal, *authz.Decision) {
	token, _ := req.Headers.Get("authorization")
	name, ok := strings.CutPrefix(token, "Bearer ")
	if !ok {
		return nil, &authz.Decision{ID: "d-1", Reason: authz.ReasonOf("authentication.missing")}
	}
	p := &identity.Principal{ID: "id-" + name, Issuer: "dev", IssuerID: "https://issuer.example", Subject: name, Person: "E-" + name}
	if strings.HasPrefix(name, "lead-") {
		p.Roles = []string{"lead"}
	}
	return p, nil
}

func (a *elevateAccess) Identify(_ context.Context, req *authz.Request) (*api.Caller, *authz.Decision) {
	p, refused := a.principal(req)
	if refused != nil {
		return nil, refused
	}
	return &api.Caller{
		Principal: p, Rule: &a.rule,
		Accepts:        func(string) bool { return true },
		MayApprove:     func(string, string) bool { return len(p.Roles) > 0 },
		MayApproveSome: func() bool { return len(p.Roles) > 0 },
	}, nil
}

func (a *elevateAccess) Inquire(_ context.Context, q *authz.Inquiry) (*authz.Asked, *authz.Decision) {
	p, refused := a.principal(&q.Request)
	if refused != nil {
		return nil, refused
	}
	asked := &authz.Asked{
		Principal: p, Server: &authz.Server{Name: "desk"}, Rule: &a.rule, Exact: q.Arguments != "" || q.Call != nil,
		Tool: &catalogue.Tool{Name: q.Tool, Server: "desk", RequiresElevation: true, RequiresApproval: true},
	}
	if asked.Exact {
		asked.Fingerprint = [32]byte{1}
	}
	return asked, nil
}

type noJournal struct{}

func (noJournal) Append([]byte, audit.Class) error { return nil }

// elevateWorld is the API with a database of its own.
type elevateWorld struct {
	t      *testing.T
	access *elevateAccess
	url    string
	away   atomic.Bool // nothing but 503
	asked  atomic.Int64
}

func newElevateWorld(t *testing.T) *elevateWorld {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{Driver: database.SQLite, File: filepath.Join(t.TempDir(), "pim.db")})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	service, err := pim.New(pim.Config{
		Open:    func(context.Context) (*database.DB, error) { return db, nil },
		Journal: noJournal{}, Now: time.Now, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &elevateWorld{t: t, access: &elevateAccess{rule: authz.ElevationRule{
		Enabled: true, RequireApproval: true, Longest: time.Hour, PendingFor: time.Hour, ApprovalFor: time.Hour,
		Approvers: []authz.Approvers{{Issuer: "dev", Roles: []string{"lead"}}},
	}}}
	handler := api.New(func() []api.Resource { return nil }, api.NewElevations(w.access, service, log))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		if w.away.Load() {
			rw.Header().Set("Retry-After", "1")
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// ran is a command that has ended.
type ran struct {
	code        int
	out, stderr string
}

// run runs a command of somebody. Its standard input is no terminal.
func (w *elevateWorld) run(who string, args ...string) ran {
	w.t.Helper()
	return w.runWith(w.t.Context(), who, "", args...)
}

func (w *elevateWorld) runWith(ctx context.Context, who, stdin string, args ...string) ran {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(who+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return runElevate(ctx, stdin, append(args, "--url", w.url, "--token-file", file)...)
}

func runElevate(ctx context.Context, stdin string, args ...string) ran {
	var out, stderr bytes.Buffer
	cmd := newElevateCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&stderr)
	r := ran{}
	if err := cmd.ExecuteContext(ctx); err != nil {
		r.code = exitCode(err)
		stderr.WriteString(err.Error())
	}
	r.out, r.stderr = out.String(), stderr.String()
	return r
}

// item reads the answer of a command with -o json.
func (r ran) item(t *testing.T) *elevateItem {
	t.Helper()
	item, err := itemOf(json.RawMessage(r.out), nil)
	if err != nil || r.code != 0 {
		t.Fatalf("%d: %s %s: %v", r.code, r.out, r.stderr, err)
	}
	return item
}
