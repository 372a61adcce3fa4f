// Package sallyport holds the rules about the repository itself, as tests.
package sallyport

import (
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sallyport/sallyport/"

// imports says which packages of ours a package may import, outside its tests.
// "x/..." is x and all below it. A package without a row may import none. A new
// row is a decision about the structure: change CONTRIBUTING with it.
var imports = map[string][]string{
	"cmd/sallyport": {"..."},
	"bench":         {"..."},

	"api":             {"authz/...", "pim", "internal/problem"},
	"envoy/extauthz":  {"authz/...", "envoy/wire"},
	"envoy/extproc":   {"authz", "audit", "idempotency", "authz/refusal", "envoy/wire"},
	"envoy/accesslog": {"audit", "envoy/wire"},
	"envoy/xds":       {"envoy/extauthz"}, // for the names that both sides of the wire must agree on

	"authz":         {"audit", "authz/...", "idempotency"},
	"authz/refusal": {"authz", "internal/problem"},

	"pim":          {"audit", "internal/database", "pim/provider"},
	"pim/provider": {"internal/cafile", "internal/strictyaml"},

	"idempotency":           {"internal/keyfile"},
	"idempotency/storetest": {"idempotency"},

	"audit/journal":  {"audit", "internal/durable"},
	"audit/archive":  {"audit", "audit/ledger"},
	"audit/index":    {"audit/ledger", "internal/database"},
	"audit/subjects": {"internal/database", "internal/keyfile"},
	"audit/pipeline": {"audit", "audit/archive", "audit/ledger", "internal/durable"},
	"audit/verify":   {"audit/archive", "audit/ledger"},
	"audit/report":   {"audit"},
	"audit/evidence": {"audit", "audit/archive", "audit/ledger", "audit/verify"},

	"authz/catalogue": {"internal/strictyaml"},
	"authz/identity":  {"internal/strictyaml"},
	"settings":        {"internal/strictyaml"},
}

// libraries says where a library may be imported, outside tests, so that it can
// be replaced in one place.
var libraries = map[string][]string{
	"github.com/envoyproxy/go-control-plane/...":        {"envoy/...", "bench"},
	"github.com/modelcontextprotocol/go-sdk/...":        {"authz/catalogue", "cmd/sallyport", "internal/dealership"},
	"github.com/prometheus/client_golang/...":           {"cmd/sallyport", "envoy/..."},
	"github.com/redis/go-redis/...":                     {"cmd/sallyport", "idempotency", "internal/testenv", "authz/..."},
	"github.com/go-redis/...":                           {"authz"},
	"github.com/spf13/cobra":                            {"cmd/sallyport"},
	"cel.dev/cel-go/...":                                {"authz/catalogue"},
	"github.com/santhosh-tekuri/jsonschema/...":         {"authz/catalogue"},
	"github.com/getkin/kin-openapi/...":                 {"authz/catalogue"},
	"github.com/MicahParks/...":                         {"authz/identity"},
	"github.com/golang-jwt/...":                         {"authz/identity", "pim/provider/...", "internal/devissuer"},
	"github.com/sallyport/sallyport/internal/testenv":   {"cmd/sallyport", "bench"},
	"github.com/sallyport/sallyport/internal/devissuer": {"cmd/sallyport", "bench"},
	"github.com/aws/...":                                {"audit/archive", "internal/testenv"},
	"github.com/jackc/pgx/...":                          {"internal/database", "internal/testenv"},
	"modernc.org/sqlite/...":                            {"internal/database"},
	"github.com/pressly/goose/...":                      {"internal/database"},
	"github.com/klauspost/compress/...":                 {"audit/ledger"},
	"golang.org/x/mod/sumdb/...":                        {"audit/ledger", "audit/pipeline", "audit/verify", "audit/evidence", "cmd/sallyport", "bench"},
	"testing":                                           {"idempotency/storetest", "audit/index/indextest", "pim/provider/providertest"},
}

type goPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p goPackage
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// matches reports whether a pattern ("a/b", "a/..." or "...") covers a path.
func matches(pattern, name string) bool {
	prefix, tree := strings.CutSuffix(pattern, "...")
	prefix = strings.TrimSuffix(prefix, "/")
	return pattern == name || tree && (prefix == "" || name == prefix || strings.HasPrefix(name, prefix+"/"))
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, to := range p.Imports {
			ours, isOurs := strings.CutPrefix(to, module)
			if isOurs && !slices.ContainsFunc(imports[from], func(pattern string) bool { return matches(pattern, ours) }) {
				t.Errorf("%s imports %s: not in the import table", from, ours)
			}
			for library, users := range libraries {
				if matches(library, to) && !slices.ContainsFunc(users, func(pattern string) bool { return matches(pattern, from) }) {
					t.Errorf("%s imports %s: only %v may", from, to, users)
				}
			}
		}
	}
}

// TestPackageComments wants one comment per package that says in one sentence
// what it is for.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var comments []string
		for _, name := range files {
			if strings.HasSuffix(name, ".pb.go") || strings.HasSuffix(name, "_test.go") && path.Base(name) != "repo_test.go" {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				comments = append(comments, f.Doc.Text())
			}
		}
		generated := strings.HasPrefix(p.ImportPath, module+"protos/")
		if generated && len(comments) == 0 {
			continue
		}
		if len(comments) != 1 {
			t.Errorf("%s has %d package comments, want 1", p.ImportPath, len(comments))
			continue
		}
		if !strings.HasPrefix(comments[0], "Package "+path.Base(p.ImportPath)+" ") && !strings.HasPrefix(comments[0], "Command ") {
			t.Errorf("%s: the package comment begins with %.40q", p.ImportPath, comments[0])
		}
	}
}

var (
	forbiddenNames = regexp.MustCompile(`(^|/)(utils?|common|helpers?|shared|base|misc|types|models?|core|lib)(/|\.go$|_test\.go$)`)
	// Machines, and hosts from which packages come, are nobody's business here.
	forbiddenText = regexp.MustCompile(`(^|[^\w.])/(work|root|home)/|https?://[^\s"']*(registry\.|proxy\.golang|pypi\.|crates\.io|/maven)`)
)

func skip(err error, entry fs.DirEntry) error {
	if err == nil && entry.IsDir() {
		return fs.SkipDir
	}
	return err
}

func TestForbiddenNamesAndText(t *testing.T) {
	t.Parallel()
	ignored := []string{".git", ".tools", "bin", "bench/out", "node_modules"}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || slices.Contains(ignored, name) || slices.Contains(ignored, entry.Name()) {
			return skip(err, entry)
		}
		if forbiddenNames.MatchString(name) {
			t.Errorf("%s: the name says nothing about what is in it", name)
		}
		if !entry.Type().IsRegular() || name == "repo_test.go" { // which holds the patterns themselves
			return nil
		}
		text, err := os.ReadFile(name)
		if found := forbiddenText.Find(text); found != nil {
			t.Errorf("%s: holds %q", name, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
