package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzTemplateExpand: whatever a value is, it stays a value.
func FuzzTemplateExpand(f *testing.F) {
	for _, value := range hostile {
		f.Add(value, "admin", "because")
		f.Add("ann", value, value)
	}
	p := newTemplate(f, "https://x.example.com", nil)
	f.Fuzz(func(t *testing.T, user, role, reason string) {
		v, err := p.about(Subject{User: user, Role: role}, noon)
		if err != nil {
			return
		}
		if err := p.filing(v, &Filing{Subject: Subject{User: user, Role: role}, Reason: reason, Duration: time.Hour}, noon); err != nil {
			t.Fatal(err)
		}
		wantURL(t, p, v)
		wantBody(t, p, v)
	})
}

func wantURL(t *testing.T, p *Template, v values) {
	t.Helper()
	target, err := p.check.target(v)
	if err != nil {
		return
	}
	u, err := url.Parse(p.endpoint + target)
	if err != nil || u.Host != "x.example.com" || u.Fragment != "" || u.User != nil {
		t.Fatalf("%q: %+v, %v", target, u, err)
	}
	segments := strings.Split(u.EscapedPath(), "/")
	user, err := url.PathUnescape(segments[len(segments)-1])
	if err != nil || len(segments) != 5 || user != v["user"] || u.JoinPath().EscapedPath() != u.EscapedPath() {
		t.Fatalf("path %q: %q, %v", u.EscapedPath(), user, err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if diff := cmp.Diff(url.Values{"q": {"role eq '" + v["role"] + "'"}, "as": {v["user"]}}, query); err != nil || diff != "" || strings.ContainsAny(v["role"], `'"\`) {
		t.Fatalf("query %q: %v %s", u.RawQuery, err, diff)
	}
}

func wantBody(t *testing.T, p *Template, v values) {
	t.Helper()
	payload, err := p.file.payload(v)
	if err != nil {
		return
	}
	var body map[string]any
	if err := json.Unmarshal(payload.(json.RawMessage), &body); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	want := map[string]any{"user": v["user"], "why": fmt.Sprintf("for %s: %s", v["tool"], v["reason"]), "seconds": 3600.0, "from": "2026-11-28T12:00:00Z"}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Fatalf("%s: %s", payload, diff)
	}
}

// FuzzTemplateAnswer: nobody is elevated by an answer that doesn't name the role.
func FuzzTemplateAnswer(f *testing.F) {
	for _, answer := range []string{
		`{"data":{"items":[{"role":"secret-role","end":"2026-11-28T13:00:00Z","id":1}]}}`, `{"data":{"items":[{"role":"secret-role","end":1795867201}]}}`,
		`{"data":{"items":[{"role":["secret-role"]}]}}`, `{"data":{"items":[{"role":null}]},"next":"a"}`, `{"data":[]}`, `[]`, `1`, `{"data":{"items":[1e999]}}`,
	} {
		f.Add([]byte(answer))
	}
	p := newTemplate(f, "https://x.example.com", func(c *TemplateConfig) { c.Check.Paging = Paging{Token: "next", Parameter: "t"} })
	f.Fuzz(func(t *testing.T, answer []byte) {
		document, err := decode(answer)
		if err != nil {
			return
		}
		v := values{"user": "ann", "role": "secret-role"}
		items, err := p.check.list(document)
		if err != nil && !errors.Is(err, ErrAnswer) {
			t.Fatal(err)
		}
		status, err := p.check.look(items, v, noon)
		if status.Active && (err != nil || !mentions(document, "secret-role") || !status.Until.IsZero() && !noon.Before(status.Until)) {
			t.Fatalf("%s elevates: %+v, %v", answer, status, err)
		}
		_, _ = p.check.paging.next("https://x.example.com/a", p.endpoint, document, 1, 1)
		if filed, err := p.poll.read(document, v, noon); err == nil && !filed.State.known() {
			t.Fatalf("%s is %+v", answer, filed)
		}
	})
}

func mentions(document any, text string) bool {
	switch value := document.(type) {
	case string:
		return value == text
	case []any:
		for _, item := range value {
			if mentions(item, text) {
				return true
			}
		}
	case map[string]any:
		for _, member := range value {
			if mentions(member, text) {
				return true
			}
		}
	}
	return false
}
