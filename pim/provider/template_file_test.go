package provider

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

// A file describes a product that nobody here has heard of.
func TestReadTemplate(t *testing.T) {
	t.Parallel()
	cfg, err := ReadTemplate(writeTemplate(t, providertest.RightsTemplate))
	if err != nil {
		t.Fatal(err)
	}
	product := providertest.NewRights(t)
	cfg.Name, cfg.Endpoint = "other", product.URL
	cfg.Credential.BearerFile = secretIn(t, providertest.RightsToken)
	p, err := NewTemplate(cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour)
	refund, wipe := Subject{User: "al ice", Role: "pay&ments|refund"}, Subject{User: "al ice", Role: "pay&ments|wipe"}
	id := product.Elevate(refund.User, refund.Role, end)
	wantStatus(t, p, refund, Status{Active: true, Until: end, Evidence: id})
	wantStatus(t, p, wipe, Status{})

	filed := wantFiled(t, p, Filing{Subject: wipe, Reason: `a "word"`, Duration: time.Minute}, FiledPending)
	if want := "https://rights.example/requests/" + filed.Ref; filed.URL != want || product.Requests[0].Reason != `a "word"` {
		t.Errorf("filed %+v, there %+v", filed, product.Requests[0])
	}
	wantPoll(t, p, filed.Ref, wipe, FiledPending)
	product.Decide(wipe.User, true)
	wantPoll(t, p, filed.Ref, wipe, FiledActive)
	wantStatus(t, p, wipe, Status{Active: true, Until: product.Requests[0].Ends, Evidence: filed.Ref})
	again := wantFiled(t, p, Filing{Subject: wipe, Reason: "x", Duration: time.Minute}, FiledPending)
	product.Decide(wipe.User, false)
	wantPoll(t, p, again.Ref, wipe, FiledDenied)
	wantPoll(t, p, "none", wipe, FiledFailed)
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
