package provider

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

func newGeneric(t testing.TB, endpoint, tokenFile string) *Generic {
	t.Helper()
	g, err := NewGeneric(&GenericConfig{Endpoint: endpoint, TokenFile: tokenFile}, atNoon)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGenericCheck(t *testing.T) {
	t.Parallel()
	end := noon.Add(time.Hour)
	for name, c := range map[string]struct {
		answer string
		want   Status
		err    error
	}{
		"elevated":         {`{"elevated":true}`, Status{Active: true}, nil},
		"with all":         {`{"elevated":true,"until":"2026-11-28T13:00:00Z","evidence_id":"e1","more":{}}`, Status{Active: true, Until: end, Evidence: "e1"}, nil},
		"another zone":     {`{"elevated":true,"until":"2026-11-28T14:00:00+01:00"}`, Status{Active: true, Until: end}, nil},
		"nulls":            {`{"elevated":true,"until":null,"evidence_id":null}`, Status{Active: true}, nil},
		"not elevated":     {`{"elevated":false}`, Status{}, nil},
		"not, with all":    {`{"elevated":false,"until":"2026-11-28T13:00:00Z","evidence_id":"e1"}`, Status{}, nil},
		"ended":            {`{"elevated":true,"until":"2026-11-28T12:00:00Z"}`, Status{}, nil},
		"missing":          {`{"until":"2026-11-28T13:00:00Z"}`, Status{}, ErrAnswer},
		"null":             {`{"elevated":null}`, Status{}, ErrAnswer},
		"text":             {`{"elevated":"false"}`, Status{}, ErrAnswer},
		"number":           {`{"elevated":0}`, Status{}, ErrAnswer},
		"another name":     {`{"Elevated":false}`, Status{}, ErrAnswer},
		"until a number":   {`{"elevated":true,"until":1795874400}`, Status{}, ErrAnswer},
		"until empty":      {`{"elevated":true,"until":""}`, Status{}, ErrAnswer},
		"until tomorrow":   {`{"elevated":true,"until":"tomorrow"}`, Status{}, ErrAnswer},
		"evidence a list":  {`{"elevated":true,"evidence_id":["e"]}`, Status{}, ErrAnswer},
		"bad until of not": {`{"elevated":false,"until":"tomorrow"}`, Status{}, ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGeneric(t, providertest.Serve(t, jsonAnswer(200, c.answer)), "")
			got, err := g.Check(t.Context(), ann)
			if !got.Until.Equal(c.want.Until) || got.Active != c.want.Active || got.Evidence != c.want.Evidence || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("Check = %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

func TestGenericFailures(t *testing.T) {
	t.Parallel()
	testFailures(t, ann, func(t *testing.T, endpoint string) Provider { return newGeneric(t, endpoint, "") })
}

func TestGenericAsks(t *testing.T) {
	t.Parallel()
	g := newGeneric(t, providertest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		want := map[string]any{"user_id": `a"nn`, "resource": "admin", "action": "execute"}
		if diff := cmp.Diff(want, body); diff != "" {
			t.Error(diff)
		}
		if got := r.Method + " " + r.URL.String() + " " + r.Header.Get("Authorization"); got != "POST /pam/v1/check-elevation Bearer t0ken" {
			t.Error(got)
		}
		answerJSON(w, 200, `{"elevated":true}`)
	})+"/pam/v1/", secretIn(t, "t0ken"))
	wantStatus(t, g, Subject{User: `a"nn`, Role: "admin"}, Status{Active: true})
}

// The file of the token may be replaced, even between the refusal of the old one and
// the repetition.
func TestGenericTokenIsReplaced(t *testing.T) {
	t.Parallel()
	file := secretIn(t, "old")
	replace := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	accepted, asked := "old", 0
	g := newGeneric(t, providertest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "Bearer "+accepted {
			replace("newer")
			answerJSON(w, 401, `{"error":"invalid_token"}`)
			return
		}
		answerJSON(w, 200, `{"elevated":true}`)
	}), file)
	wantStatus(t, g, ann, Status{Active: true})
	replace("new")
	accepted = "new"
	wantStatus(t, g, ann, Status{Active: true})
	accepted = "newer"
	wantStatus(t, g, ann, Status{Active: true})
	accepted, asked = "newest", 0
	if _, err := g.Check(t.Context(), ann); !isStatus(err, 401) || asked != 1 {
		t.Errorf("Check = %v after %d questions", err, asked)
	}
	for _, text := range []string{"", "two\nlines", strings.Repeat("x", longestSecret+1)} {
		replace(text)
		if _, err := g.Check(t.Context(), ann); err == nil || strings.Contains(err.Error(), "lines\"") {
			t.Errorf("Check with a token of %d bytes = %v", len(text), err)
		}
	}
}

func TestGenericRequest(t *testing.T) {
	t.Parallel()
	s := providertest.NewGeneric(t, atNoon)
	s.Token = "t0ken"
	g := newGeneric(t, s.URL, secretIn(t, "t0ken"))
	filed, err := g.File(t.Context(), Filing{Subject: ann, Reason: "because", Duration: 15 * time.Minute})
	if want := (Filed{Ref: "r/1", URL: "https://pam.example/requests/r/1", State: FiledPending}); err != nil || filed != want {
		t.Fatalf("File = %+v, %v; want %+v", filed, err, want)
	}
	request := s.Requests["r/1"]
	if want := (providertest.GenericRequest{UserID: "ann", Resource: "admin", Reason: "because", Seconds: 900, ID: "r/1", Status: "pending"}); *request != want {
		t.Errorf("filed %+v, want %+v", *request, want)
	}
	wantStatus(t, g, ann, Status{})
	wantPoll(t, g, filed.Ref, ann, FiledPending)
	s.Decide("ann", true)
	if filed := wantPoll(t, g, filed.Ref, ann, FiledActive); !filed.Until.Equal(noon.Add(15 * time.Minute)) {
		t.Errorf("until %v", filed.Until)
	}
	wantStatus(t, g, ann, Status{Active: true, Until: noon.Add(15 * time.Minute), Evidence: "r/1"})
	request.Until = noon.Add(-time.Second)
	wantPoll(t, g, filed.Ref, ann, FiledExpired)
	wantStatus(t, g, ann, Status{})
	request.Until = time.Time{}
	for theirs, ours := range map[string]FiledState{"denied": FiledDenied, "expired": FiledExpired, "cancelled": FiledCancelled} {
		request.Status = theirs
		wantPoll(t, g, filed.Ref, ann, ours)
	}
	wantPoll(t, g, "another", ann, FiledFailed)
	for _, status := range []string{"Approved", "", "active"} {
		request.Status = status
		if filed, err := g.Poll(t.Context(), "r/1", ann); !errors.Is(err, ErrAnswer) {
			t.Errorf("Poll with status %q = %+v, %v", status, filed, err)
		}
	}
}

func TestGenericRequestOdd(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 501} {
		g := newGeneric(t, providertest.Serve(t, jsonAnswer(status, `{}`)), "")
		if _, err := g.File(t.Context(), Filing{Subject: ann}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("File answered with %d = %v", status, err)
		}
	}
	for _, answer := range []string{
		`{"status":"pending"}`, `{"request_id":"","status":"pending"}`, `{"request_id":7,"status":"pending"}`, `{"request_id":"r1"}`,
		`{"request_id":"r1","status":1}`, `{"request_id":"r1","status":"approved","until":"never"}`, `{"request_id":"r1","status":"pending","approval_url":1}`, `[]`,
	} {
		g := newGeneric(t, providertest.Serve(t, jsonAnswer(200, answer)), "")
		if filed, err := g.File(t.Context(), Filing{Subject: ann}); !errors.Is(err, ErrAnswer) {
			t.Errorf("File answered with %s = %+v, %v", answer, filed, err)
		}
	}
	g := newGeneric(t, providertest.Serve(t, jsonAnswer(200, `{"request_id":"r2","status":"approved","approval_url":"javascript:alert(1)"}`)), "")
	if filed, err := g.Poll(t.Context(), "r1", ann); !errors.Is(err, ErrAnswer) {
		t.Errorf("Poll of another request = %+v, %v", filed, err)
	}
	if filed, err := g.File(t.Context(), Filing{Subject: ann}); err != nil || filed.URL != "" {
		t.Errorf("File = %+v, %v; want no URL", filed, err)
	}
	for _, ref := range []string{"", ".", "..", "../x", "a\nb", "\xff"} {
		if _, err := g.Poll(t.Context(), ref, ann); !errors.Is(err, ErrSubject) {
			t.Errorf("Poll(%q) = %v", ref, err)
		}
	}
}

func TestNewGenericRefuses(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]GenericConfig{
		"endpoint":   {Endpoint: "http://pam.example.com"},
		"a query":    {Endpoint: "https://pam.example.com/?x=1"},
		"no host":    {Endpoint: "https:///x"},
		"token file": {Endpoint: "https://pam.example.com", TokenFile: "/nowhere"},
		"CA file":    {Endpoint: "https://pam.example.com", CAFile: "/nowhere"},
	} {
		if _, err := NewGeneric(&cfg, atNoon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewGeneric(%+v) = %v, want %s in it", cfg, err, want)
		}
	}
}
