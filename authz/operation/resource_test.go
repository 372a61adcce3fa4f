package operation_test

import (
	"encoding/json"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode"

	"github.com/sallyport/sallyport/authz/operation"
)

// What * stands for stays below the beginning, whatever a server makes of it.
func TestResourcePrefixes(t *testing.T) {
	t.Parallel()
	cfg := mcpConfig()
	cfg.MCP.Resources = []string{
		"docs://host/public/*", "docs://host/img-*", "docs://host/one?x#y;z /..", "docs://host/find?q=*", "docs://host/half/%2*",
	}
	server := mustNew(t, cfg)
	for uri, want := range map[string]bool{
		"docs://host/public/a":          true,
		"docs://host/public/a/b.txt":    true,
		"docs://host/public/a b":        false, // written as
		"docs://host/public/a%20b":      true,
		"docs://host/public/größe":      true,
		"docs://host/public/e\u0301":    true,
		"docs://host/public/gr%C3%B6ße": true,
		"docs://host/public/a&b=c":      true,
		"docs://host/public/..a":        true,
		"docs://host/img-1.png":         true,
		"docs://host/img-../secret":     true, // a name that only begins with dots: img-..

		"docs://host/public/":               false,
		"docs://host/public/.":              false,
		"docs://host/public/..":             false,
		"docs://host/public/...":            false,
		"docs://host/public/a/../b":         false,
		"docs://host/public/..?x":           false,
		"docs://host/public/a?x":            false,
		"docs://host/public/x?p=/../../etc": false,
		"docs://host/public/..#x":           false,
		"docs://host/public/..;/secret":     false,
		"docs://host/public/.;/..;/secret":  false,
		"docs://host/public/.. ":            false,
		"docs://host/public/..%20":          false,
		"docs://host/public/. .":            false,
		"docs://host/public/%20/a":          false,
		"docs://host/public/..%3Fx":         false,
		"docs://host/public/..%23x":         false,
		"docs://host/public/..%3B/x":        false,
		"docs://host/public/%2e%2e/secret":  false,
		"docs://host/public/a%2Etxt":        false,
		"docs://host/public/a%2Fb":          false,
		"docs://host/public/a%5Cb":          false,
		`docs://host/public/..\secret`:      false,
		"docs://host/public/%252e":          false,
		"docs://host/public/a%zz":           false,
		"docs://host/public/a%":             false,
		"docs://host/public/a%FF":           false,
		"docs://host/public/a//b":           false,
		"docs://host/public/..\t":           false,
		"docs://host/public/..\u007f":       false,
		"docs://host/public/..\u00a0":       false,
		"docs://host/public/..%C2%A0":       false,
		"docs://host/public/..\ufeff":       false,
		"docs://host/public/..\u200b":       false,
		"docs://host/public/..\u2028/x":     false,
		"docs://host/public/..\u034f":       false,
		"docs://host/public/\uff0e\uff0e/x": false,
		"docs://host/public/\u2025/x":       false,
		"docs://host/public/a\u2215b":       false,
		"docs://HOST/public/a":              false,

		"docs://host/one?x#y;z /..": true, // an exact entry
		"docs://host/one?x#y;z":     false,

		"docs://host/find?q=vans":              true,
		"docs://host/find?q=a/b+c":             true,
		"docs://host/find?q=vans&scope=secret": false,
		"docs://host/find?q=vans;scope=secret": false,
		"docs://host/find?q=x/../../secret":    false,
		"docs://host/find?q=x?y":               false,

		"docs://host/half/%20x": true,
		"docs://host/half/%2e.": false,
		"docs://host/half/%2f.": false,
	} {
		r := refusalOf(t, server, call(params("resources/read", `"uri":"`+strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\u007f", `\u007f`).Replace(uri)+`"`)))
		if (r == nil) != want || r != nil && r.Cause != operation.CauseResourceNotListed {
			t.Errorf("%+q: listed: %v, want %v (%v)", uri, r == nil, want, r)
		}
	}
}

// What is accepted below a prefix is below it for servers that decode, cut and
// trim in different ways.
func FuzzResourcePrefix(f *testing.F) {
	for _, seed := range []string{"a/b.txt", "..?x", "..;/x", ".. ", "%2e%2e/x", "a%20b", "\u2025/x", "..%3f", "größe", "a/..%C2%A0/x", "./;/x", "...."} {
		f.Add(seed)
	}
	cfg := mcpConfig()
	cfg.MCP.Resources = []string{"docs://host/public/*"}
	server := mustNew(f, cfg)
	f.Fuzz(func(t *testing.T, rest string) {
		const root = "/public/"
		uri := "docs://host" + root + rest
		text, err := json.Marshal(uri)
		if err != nil || len(rest) > 1<<10 {
			return
		}
		op, err := server.Parse(call(params("resources/read", `"uri":`+string(text))))
		if err != nil {
			return
		}
		u, err := url.Parse(op.Target)
		if err != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q is %v, %v", uri, u, err)
		}
		lenient := u.Path
		for range 3 {
			lenient, _ = url.PathUnescape(lenient)
		}
		segments := strings.Split(lenient, "/")
		for i, segment := range segments {
			segment, _, _ = strings.Cut(segment, ";")
			segments[i] = strings.TrimFunc(segment, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) || unicode.IsMark(r) })
		}
		for _, p := range []string{u.Path, lenient, strings.Join(segments, "/"), strings.ReplaceAll(lenient, "\\", "/")} {
			if !strings.HasPrefix(path.Clean(p), root) {
				t.Fatalf("%q leads to %q", uri, path.Clean(p))
			}
		}
	})
}
