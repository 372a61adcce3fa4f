package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/pim/provider/providertest"
)

const pamToken = "pam-token-of-the-test"

// startPAM starts a service that speaks the protocol of the provider generic, for users
// by their oid.
func startPAM(t *testing.T) *providertest.Generic {
	t.Helper()
	p := providertest.NewGeneric(t, time.Now)
	p.Token = pamToken
	return p
}

// startProvided starts a mesh whose elevations a provider decides on.
func startProvided(t *testing.T, p *providertest.Generic, more ...string) *elevations {
	t.Helper()
	lines := append([]string{
		"provider: generic", "pam_endpoint: " + p.URL, "generic: {token_file: pam-token}",
		"users: [{issuer: dev, claim: oid}]", "timeout: 400ms", "approvers: [{issuer: dev, roles: [approver]}]",
	}, more...)
	return startElevations(t, elevationOptions{pim: lines, files: func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "pam-token"), []byte(pamToken), 0o600); err != nil {
			t.Fatal(err)
		}
	}})
}

func oid(id string) func(*devissuer.TokenOptions) {
	return func(o *devissuer.TokenOptions) { o.Claims["oid"] = id }
}

// The provider's word is final: yes, no, until then, and what was filed there.
func TestElevationByProvider(t *testing.T) {
	t.Parallel()
	pam := startPAM(t)
	e := startProvided(t, pam)
	alice := e.caller(t, "alice", oid("o-1"))
	refund := func(token string) func() request {
		return func() request { return e.scene(nil).of(callTool(token, "refund", "{}")) }
	}
	e.comes(t, refund(alice), "elevation.required")
	pam.Elevate("o-2", "payments", time.Now().Add(time.Minute))
	if got := e.ends(t, refund(e.caller(t, "zoe", oid("o-2")))()); got != "200" {
		t.Errorf("elevated at the provider: %s", got)
	}
	e.comes(t, refund(mint(t, e.partner, personOptions("zoe", oid("o-2")))), "elevation.required") // another's o-2
	e.comes(t, refund(e.caller(t, "nobody")), "elevation.required")
	pam.Elevate("o-3", "payments", time.Now().Add(2*time.Second))
	short := e.caller(t, "short", oid("o-3"))
	if got := e.ends(t, refund(short)()); got != "200" {
		t.Errorf("elevated for two seconds: %s", got)
	}
	eventually(t, 5*time.Second, "its end counts though the answer is remembered", func() bool { return e.ends(t, refund(short)()) == "elevation.required" })

	for user, end := range map[string]string{"o-10": "approved", "o-11": "denied"} {
		token := e.caller(t, "asks-"+user, oid(user))
		asked := e.requested(t, elevate(token, `"tool":"refund","reason":"x","duration_seconds":60`), http.StatusAccepted)
		if asked.Status != "pending" || !strings.HasPrefix(asked.URL, "https://pam.example/requests/") {
			t.Errorf("asked: %+v", asked)
		}
		e.refused(t, approve(e.caller(t, "bob", roles("approver")), asked.ID), 409, "elevation.elsewhere")
		pam.Decide(user, end == "approved")
		eventually(t, 15*time.Second, "the request is "+end, func() bool {
			return e.requested(t, ask(token, http.MethodGet, "elevations/"+asked.ID, ""), http.StatusOK).Status == end
		})
		want := map[string]string{"approved": "200", "denied": "elevation.required"}[end]
		eventually(t, 10*time.Second, "the call is "+want, func() bool { return e.ends(t, refund(token)()) == want })
	}
}

// However the provider fails, a privileged call is refused within the deadline, and
// nobody else waits for it.
func TestProviderFails(t *testing.T) {
	t.Parallel()
	pam := startPAM(t)
	e := startProvided(t, pam)
	never := newGate(t)
	for name, how := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-never.ch:
			case <-r.Context().Done():
			}
		},
		"is slow": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(5 * time.Second):
			case <-r.Context().Done():
			}
			fmt.Fprint(w, `{"elevated":true}`)
		},
		"500": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"elevated":true}`, http.StatusInternalServerError)
		},
		"429": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, `{"elevated":true}`, http.StatusTooManyRequests)
		},
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"elevated":tru`)
		},
		"a text": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"elevated":"true"}`)
		},
		"nothing": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{}`)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/else", http.StatusFound) },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"elevated":true,"x":%q}`, strings.Repeat("x", 4<<20))
		},
	} {
		pam.Fail(how)
		for i := range 8 {
			start := time.Now()
			got := e.ends(t, e.scene(nil).of(callTool(e.caller(t, "alice", oid(fmt.Sprint(name, i))), "refund", "{}")))
			if took := time.Since(start); got != "elevation.unavailable" || took > 2*time.Second {
				t.Errorf("%s: %s after %v", name, got, took)
			}
		}
	}
	pam.Fail(nil)
	pam.Elevate("o-1", "payments", time.Now().Add(time.Hour))
	eventually(t, 70*time.Second, "the provider is asked again", func() bool {
		return e.ends(t, e.scene(nil).of(callTool(e.caller(t, "alice", oid("o-1")), "refund", "{}"))) == "200"
	})
}

// A provider that hangs holds up nobody but who needs it.
func TestHungProviderSlowsNobodyElse(t *testing.T) {
	t.Parallel()
	pam := startPAM(t)
	e := startProvided(t, pam)
	reader := e.caller(t, "reader")
	desk := e.scene(nil)
	reads := func() (p50, p99 time.Duration) {
		var took []time.Duration
		for range 300 {
			start := time.Now()
			if got := e.ends(t, desk.of(callTool(reader, "search", "{}"))); got != "200" {
				t.Fatalf("a read: %s", got)
			}
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		return took[len(took)/2], took[len(took)*99/100]
	}
	idle50, idle99 := reads()
	never := newGate(t)
	pam.Fail(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-never.ch:
		case <-r.Context().Done():
		}
	})
	var stop atomic.Bool
	var callers sync.WaitGroup
	var refused atomic.Int64
	for i := range 16 {
		token := e.caller(t, "privileged", oid(fmt.Sprint("p-", i)))
		callers.Go(func() {
			for !stop.Load() {
				if a, err := e.try(t.Context(), callTool(token, "refund", "{}")); err == nil && refusalOf(a) == "elevation.unavailable" {
					refused.Add(1)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	busy50, busy99 := reads()
	stop.Store(true)
	callers.Wait()
	t.Logf("reads: p50 %v p99 %v; while the provider hangs: p50 %v p99 %v, %d privileged calls refused", idle50, idle99, busy50, busy99, refused.Load())
	if refused.Load() == 0 || busy99 > 400*time.Millisecond { // the provider's timeout
		t.Errorf("p99 of reads is %v, %d privileged calls were refused", busy99, refused.Load())
	}
}

// A break-glass grant counts while the provider fails, and never beside its answer.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	pam := startPAM(t)
	e := startProvided(t, pam, "break_glass: {enabled: true, duration_seconds: 300}")
	alice, bob := e.caller(t, "alice", oid("o-1")), e.caller(t, "bob", roles("approver"))
	refund := func() request { return e.scene(nil).of(callTool(alice, "refund", "{}")) }
	e.refused(t, elevate(alice, `"tool":"refund","reason":"x","duration_seconds":301,"break_glass":true`), 422, "elevation.ask")
	asked := e.requested(t, elevate(alice, `"tool":"refund","reason":"the provider is down","break_glass":true`), http.StatusAccepted)
	e.refused(t, approve(e.caller(t, "alice", roles("approver")), asked.ID), 403, "elevation.self")
	e.requested(t, approve(bob, asked.ID), http.StatusOK)
	e.comes(t, refund, "elevation.required") // the provider has said no
	pam.Fail(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) })
	eventually(t, 10*time.Second, "the grant counts", func() bool { return e.ends(t, refund()) == "200" })
	if got := e.ends(t, callTool(e.caller(t, "carol", oid("o-2")), "refund", "{}")); got != "elevation.unavailable" {
		t.Errorf("somebody without the grant: %s", got)
	}
	if e.metric(t, "sallyport_break_glass_total") == "0" || !strings.Contains(e.log.String(), "break-glass grant used") {
		t.Error("it was not loud")
	}
	pam.Fail(nil)
	eventually(t, 30*time.Second, "the provider's no counts again", func() bool { return e.ends(t, refund()) == "elevation.required" })
}
