package catalogue

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestProposeOpenAPI compares what is proposed for each document with the rest of
// its archive.
func TestProposeOpenAPI(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/openapi/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no test data", err)
	}
	for _, path := range archives {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			p, err := ProposeOpenAPI("api", archive.Files[0].Data)
			if err != nil {
				t.Fatal(err)
			}
			_, text := reload(t, p)
			routes, err := p.Routes()
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				archive.Files[1].Data, archive.Files[2].Data = []byte(text), routes
				if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), text); diff != "" {
				t.Errorf("catalogue (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(string(archive.Files[2].Data), string(routes)); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProposeOpenAPIErrors(t *testing.T) {
	t.Parallel()
	const head = "openapi: 3.0.0\ninfo: {title: t, version: '1'}\npaths:\n  /a:\n    post:\n      responses: {}\n      requestBody: {content: {application/json: {schema: "
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "not OpenAPI 3"},
		{"Swagger", "swagger: '2.0'\npaths: {}\n", "not OpenAPI 3"},
		{"syntax", "openapi: [", "OpenAPI document: "},
		{"external", head + "{$ref: 'https://example.com/a.json'}}}}\n", "disallowed external reference"},
		{"file", head + "{$ref: '/etc/passwd'}}}}\n", "disallowed external reference"},
		{"size", strings.Repeat("x", maxFile+1), "at most 8388608 are allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := ProposeOpenAPI("api", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestOpenAPIAliases has a document that doubles itself with every line.
func TestOpenAPIAliases(t *testing.T) {
	t.Parallel()
	text := "openapi: 3.0.0\ninfo: {title: t, version: '1'}\nx-0: &a0 [a, a]\n"
	for i := range 40 {
		text += "x-" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ": &a" + strconv.Itoa(i+1) + " [*a" + strconv.Itoa(i) + ", *a" + strconv.Itoa(i) + "]\n"
	}
	start := time.Now()
	if _, err := ProposeOpenAPI("api", []byte(text+"paths: {}\n")); err == nil {
		t.Error("it is accepted")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
