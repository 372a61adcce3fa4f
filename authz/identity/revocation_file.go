package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport/sallyport/internal/strictyaml"
)

// Bounds of the file.
const (
	maxRevocationBytes = 8 << 20
	maxRevocations     = 50_000
	maxRevokedBytes    = 1024 // of one value
	maxRevocationErrs  = 20
)

// revocationReader walks the tree of a file. After a mistake it goes on.
type revocationReader struct {
	list map[revoked]revocation
	errs []error // each begins with its line
}

func (r *revocationReader) fail(line int, format string, args ...any) {
	switch {
	case len(r.errs) < maxRevocationErrs:
		r.errs = append(r.errs, fmt.Errorf("%d: "+format, append([]any{line}, args...)...))
	case len(r.errs) == maxRevocationErrs:
		r.errs = append(r.errs, fmt.Errorf("%d: and more", line))
	}
}

// parseRevocations reads a file; see ReloadFile for its form.
func parseRevocations(data []byte) (map[revoked]revocation, []error) {
	r := &revocationReader{list: make(map[revoked]revocation)}
	if len(data) > maxRevocationBytes {
		r.fail(1, "the file has more than %d bytes", maxRevocationBytes)
		return nil, r.errs
	}
	root, line, err := strictyaml.Parse(data)
	switch {
	case err != nil:
		r.fail(line, "%w", err)
		return nil, r.errs
	case root == nil:
		r.fail(1, "the file is empty; write version: 1 and revocations: []")
		return nil, r.errs
	}
	members := r.mapping(root, "the file", "version", "revocations")
	if v := members["version"]; v == nil || v.Kind != yaml.ScalarNode || v.Value != "1" {
		r.fail(root.Line, "version must be 1")
	}
	entries := members["revocations"]
	switch {
	case entries == nil || entries.Kind != yaml.SequenceNode:
		r.fail(root.Line, "revocations must be a list; write [] for none")
	case len(entries.Content) > maxRevocations:
		r.fail(entries.Line, "there are more than %d revocations", maxRevocations)
	default:
		for _, entry := range entries.Content {
			r.entry(entry)
		}
	}
	return r.list, r.errs
}

// mapping returns the values of a mapping by key. A key that is not one of the
// known, or there twice, is a mistake. (Anchors are no use without aliases, and
// an alias is no mapping, list or text here.)
func (r *revocationReader) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	values := make(map[string]*yaml.Node, len(known))
	if n.Kind != yaml.MappingNode {
		r.fail(n.Line, "%s must be a mapping", what)
		return values
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			r.fail(key.Line, "%.40q is not a key of %s; the keys are %s", key.Value, what, strings.Join(known, ", "))
		case values[key.Value] != nil:
			r.fail(key.Line, "%s is already set in line %d", key.Value, values[key.Value].Line)
		default:
			values[key.Value] = value
		}
	}
	return values
}

// entry reads one revocation.
func (r *revocationReader) entry(n *yaml.Node) {
	kinds := [...]string{revokedTokenID, revokedSubject, revokedClient, revokedSession}
	members := r.mapping(n, "a revocation", append(kinds[:], "issuer", "issued_before", "until")...)
	key := revoked{issuer: r.text(members["issuer"], "issuer")}
	switch {
	case members["issuer"] == nil:
		r.fail(n.Line, "a revocation needs an issuer")
	case key.issuer != "" && !namePattern.MatchString(key.issuer):
		r.fail(members["issuer"].Line, "issuer is the configured name, not %.60q", key.issuer)
	}
	for _, kind := range kinds {
		switch {
		case members[kind] == nil:
		case key.kind != "":
			r.fail(members[kind].Line, "%s and %s are two revocations; write two entries", key.kind, kind)
		default:
			key.kind, key.value = kind, r.text(members[kind], kind)
		}
	}
	if key.kind == "" {
		r.fail(n.Line, "a revocation needs one of %s", strings.Join(kinds[:], ", "))
		return
	}
	if earlier, twice := r.list[key]; twice && key.value != "" {
		r.fail(n.Line, "this %s is already revoked in line %d", key.kind, earlier.line)
		return
	}
	r.list[key] = revocation{
		line:         n.Line,
		until:        r.time(members["until"], "until"),
		issuedBefore: r.time(members["issued_before"], "issued_before"),
	}
}

// text reads a string; a number must be in quotes, or 007 could become 7.
func (r *revocationReader) text(n *yaml.Node, name string) string {
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		r.fail(n.Line, "%s must be a string; put it in quotes", name)
	case n.Value == "" || len(n.Value) > maxRevokedBytes:
		r.fail(n.Line, "%s must have 1 to %d bytes", name, maxRevokedBytes)
	default:
		return n.Value
	}
	return ""
}

func (r *revocationReader) time(n *yaml.Node, name string) time.Time {
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, n.Value)
	if err != nil || n.Kind != yaml.ScalarNode || t.IsZero() {
		r.fail(n.Line, "%s must be a time like 2026-03-01T09:30:00Z", name)
	}
	return t
}
