package operation

import (
	"slices"
	"strings"
)

// newMCPServer compiles the configuration and reports what is wrong with it.
func newMCPServer(cfg *Config, fail func(format string, args ...any)) *mcpServer {
	c := cfg.MCP
	checkMCP(c, fail)
	s := &mcpServer{
		name: cfg.Name, path: c.Path, maxBody: cfg.MaxBodyBytes,
		methods: newAllowlist(c.Methods), resources: resourceList{newAllowlist(c.Resources)}, prompts: newAllowlist(c.Prompts),
		origins: slices.Clone(c.Origins),
	}
	for _, revision := range revisions() {
		if len(c.Versions) > 0 && !slices.Contains(c.Versions, revision) {
			continue
		}
		s.versions = append(s.versions, revision)
		if s.newestLegacy == "" && !stateless(revision) {
			s.newestLegacy = revision
		}
	}
	return s
}

// checkMCP reports what is wrong with each of the lists.
func checkMCP(c *MCPConfig, fail func(format string, args ...any)) {
	if !validPath(c.Path) {
		fail("path: %q is not an absolute path without query, escapes, dot or empty segments", c.Path)
	}
	eachOnce("methods", c.Methods, fail, func(entry string) string {
		name := strings.TrimSuffix(entry, "/*")
		switch {
		case name == "" || len(name) > maxMethodLen || !asciiVisible(name) || strings.Contains(name, "*"):
			return `is neither a method's name nor a name and "/*"`
		case name == "GET" || name == "DELETE" || name == "response":
			return "is no JSON-RPC method; the revisions before 2026-07-28 always have it"
		}
		return ""
	})
	eachOnce("resources", c.Resources, fail, func(entry string) string {
		uri := strings.TrimSuffix(entry, "*")
		_, rest, absolute := strings.Cut(uri, "://")
		switch {
		case entry == "" || len(entry) > maxURILen || strings.Contains(uri, "*"):
			return `is neither a URI nor a beginning and "*"`
		case uri != entry && absolute && rest != "" && !strings.Contains(rest, "/"):
			return `ends inside the authority, so "*" would stand for other hosts too`
		}
		return ""
	})
	eachOnce("prompts", c.Prompts, fail, func(entry string) string {
		if entry == "" || len(entry) > maxNameLen || strings.Contains(strings.TrimSuffix(entry, "*"), "*") {
			return `is neither a prompt's name nor a beginning and "*"`
		}
		return ""
	})
	eachOnce("origins", c.Origins, fail, func(entry string) string {
		scheme, host, ok := strings.Cut(entry, "://")
		if entry != "null" && (!ok || scheme == "" || host == "" || strings.ContainsAny(host, "/*?#@") ||
			!asciiVisible(entry) || strings.ToLower(entry) != entry) {
			return "is not an origin as browsers write it: scheme://host or scheme://host:port in lower case"
		}
		return ""
	})
	eachOnce("versions", c.Versions, fail, func(entry string) string {
		if !slices.Contains(revisions(), entry) {
			return "is not one of " + strings.Join(revisions(), ", ")
		}
		return ""
	})
}

// eachOnce checks the entries of a list; problem is empty for a good one.
func eachOnce(list string, entries []string, fail func(format string, args ...any), problem func(entry string) string) {
	seen := make(map[string]bool, len(entries))
	for i, entry := range entries {
		if p := problem(entry); p != "" {
			fail("%s[%d]: %q %s", list, i, entry, p)
		}
		if seen[entry] {
			fail("%s[%d]: %q is listed twice", list, i, entry)
		}
		seen[entry] = true
	}
}

// validPath tells whether a path can be compared byte by byte.
func validPath(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	if path == "/" {
		return true
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path[1:], "/"), "/") {
		if !validLiteral(segment) {
			return false
		}
	}
	return true
}

// validLiteral tells whether a segment is only characters that stand for
// themselves.
func validLiteral(segment string) bool {
	for i := range len(segment) {
		if !pathChar(segment[i]) {
			return false
		}
	}
	return segment != "" && segment != "." && segment != ".."
}
