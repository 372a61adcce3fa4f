package provider

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const templateText = `
role_parts: [team, right]
check:
  url: "/v1/people/{user}/rights?team={team}&active=true"
  items: [rights]
  when:
    - {path: right, op: eq, value: "{right}", fold_case: true}
    - {path: begins, op: le_now}
    - {path: ends, op: gt_now}
  until: ends
  evidence: id
`

// A file describes a product that nobody here has heard of.
func TestReadTemplate(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/people/al ice/rights" || r.URL.RawQuery != "team=pay%26ments&active=true" {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"rights":[{"id":"r-1","right":"Refund","begins":%q,"ends":%q}]}`,
			time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().Add(time.Hour).Format(time.RFC3339))
	}))
	t.Cleanup(server.Close)
	cfg, err := ReadTemplate(writeTemplate(t, templateText))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Name, cfg.Endpoint = "other", server.URL
	cfg.Credential.BearerFile = writeTemplate(t, "a-token")
	p, err := NewTemplate(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]bool{"pay&ments|refund": true, "pay&ments|wipe": false} {
		status, err := p.Check(t.Context(), Subject{User: "al ice", Role: role})
		if err != nil || status.Active != want || want && status.Evidence != "r-1" {
			t.Errorf("%s: %+v, %v", role, status, err)
		}
	}
}

func TestReadTemplateRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"check: {urll: /a}":                         "urll",
		"endpoint: https://elsewhere.example":       "endpoint",
		"credential: {bearer_file: /etc/passwd}":    "credential",
		"check: {url: /a}\ncheck: {url: /b}":        "line 2",
		"check: [":                                  "line 1",
		"---\ncheck: {}\n---\ncheck: {}":            "second document",
		"values: {a: " + strings.Repeat("x", 65536): "more than",
	} {
		if _, err := ReadTemplate(writeTemplate(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadTemplate(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that isn't there")
	}
}

func writeTemplate(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "template.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
