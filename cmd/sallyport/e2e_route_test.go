package main_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestPathTricks sends what proxies and servers read in different ways. Whatever
// the answer: no request reaches another server, or another path there, than
// the one that was decided.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	m := startMesh(t, meshOptions{})
	token := m.token(t, "alice", "vehicles.read services.write")
	const (
		mcp, office, vehicle = "dealership /mcp", "office /office", "api /vehicles/V-1001"
		suspicious           = "400 operation.path_suspicious"
		unknown              = "404 operation.route_unknown"
		nowhere              = "404 route.unknown"
	)
	here := m.authority
	for _, trick := range []struct {
		method, host, target string
		want                 string // server and path that it reaches, or status and reason; without a reason Envoy refuses by itself
	}{
		{"POST", here, "/mcp", mcp},
		{"POST", here, "//mcp", mcp},
		{"POST", here, "/mcp/", suspicious},
		{"POST", here, "/./mcp", mcp},
		{"POST", here, "/../mcp", mcp},
		{"POST", here, "/x/../mcp", mcp},
		{"POST", here, "/%2e%2e/mcp", mcp},
		{"POST", here, "/office/.%2e/mcp", mcp},
		{"POST", here, "/office/../mcp", mcp},
		{"POST", here, "/mcp/../office", office},
		{"POST", here, "/mcp;/../office", office},
		{"POST", here, "/%6dcp", mcp},
		{"POST", here, `/\mcp`, mcp},
		{"POST", here, `/mcp\..\office`, office},
		{"POST", here, `\mcp`, "400"},
		{"POST", here, "mcp", "400"},
		{"POST", here, "*", "400"},
		{"POST", here, "/mcp%2f", "400"},
		{"POST", here, "/mcp%2Foffice", "400"},
		{"POST", here, "/%2fmcp", "400"},
		{"POST", here, "/..%2fmcp", "400"},
		{"POST", here, "/mcp%5c..%5coffice", "400"},
		{"POST", here, "/mcp%00", "400"},
		{"POST", here, "/mcp#fragment", "400"},
		{"POST", here, "/mcp;x=1", suspicious},
		{"POST", here, "/mcp/.", suspicious},
		{"POST", here, "/mcp/%2e", suspicious},
		{"POST", here, "/mcp%0d%0aX-Evil:%20yes", suspicious},
		{"POST", here, "/mcp%c0%af", suspicious},
		{"POST", here, "/mcp%252f", suspicious},
		{"POST", here, "/mcp%3fx", unknown},
		{"POST", here, "/mcp%20", unknown},
		{"POST", here, "/MCP", unknown},
		{"POST", here, "/mcp/office", unknown},
		{"POST", here, "/mcp?x=1", "400 operation.query"},
		{"POST", here, "/mcp?", "400 operation.query"},

		{"GET", here, "/vehicles/V-1001", vehicle},
		{"GET", here, "/vehicles//V-1001", vehicle},
		{"GET", here, "/vehicles/%56%2d1001", vehicle},
		{"GET", here, `/vehicles\V-1001`, vehicle},
		{"GET", here, "/office/../vehicles/V-1001", vehicle},
		{"GET", here, "/vehicles/V-1001%23", "api /vehicles/V-1001%23"},
		{"GET", here, "/vehicles/..%2f..%2fmcp", "400"},
		{"GET", here, "/vehicles/V-1001%2f..%2f..%2fservices", "400"},
		{"GET", here, "/vehicles/V-1001%00", "400"},
		{"GET", here, "/vehicles/..;/V-1001", "404 operation.route_unknown"},
		{"GET", here, "/vehicles/.", suspicious},
		{"GET", here, "/vehicles/..", unknown},
		{"GET", here, "/vehicles/V-1001/", suspicious},
		{"GET", here, "/vehicles/V-1001;x", suspicious},
		{"GET", here, "/vehicles/V-1001%3bx", suspicious},
		{"GET", here, "/vehicles/V-1001%252f", suspicious},
		{"GET", here, "/vehicles/V-1001%zz", suspicious},
		{"GET", here, "/Vehicles/V-1001", suspicious},
		{"GET", here, "/vehicles/V-1001?", "400 operation.query"},
		{"GET", here, "/services/B-1", "405 operation.method_not_allowed"},

		// Sallyport's own API has no Check, so nothing may lead from it to a server.
		{"GET", here, "/.well-known/oauth-protected-resource/../../vehicles/V-1001", vehicle},
		{"GET", here, "/.well-known/oauth-protected-resource/%2e%2e/%2e%2e/vehicles/V-1001", vehicle},
		{"GET", here, "/.well-known/oauth-protected-resource/..%2f..%2fvehicles/V-1001", "400"},
		{"GET", here, "/api/auth/../../vehicles/V-1001", vehicle},
		{"GET", here, "/api/auth/..;/vehicles/V-1001", unknown},

		{"POST", "dealership.test", "/mcp", mcp},
		{"POST", "DEALERSHIP.TEST", "/mcp", mcp},
		{"POST", "dealership.test.", "/mcp", mcp},
		{"POST", "DealerShip.Test.", "/mcp", mcp},
		{"POST", "dealership.test:80", "/mcp", mcp},
		{"POST", here + ".", "/mcp", mcp},
		{"POST", "dealership.test:", "/mcp", nowhere},
		{"POST", "dealership.test..", "/mcp", nowhere},
		{"POST", "dealership.test:80:80", "/mcp", nowhere},
		{"POST", "dealership.test@evil.test", "/mcp", nowhere},
		{"POST", "user@dealership.test", "/mcp", nowhere},
		{"POST", "evil.test", "/mcp", nowhere},
		{"POST", "127.0.0.1", "/mcp", nowhere},
		{"POST", "", "/mcp", nowhere},
		{"POST", "dealership.test/office", "/mcp", "400"},
		{"POST", here + ", dealership.test", "/mcp", "400"},
		{"POST", here + "\r\nHost: dealership.test", "/mcp", nowhere},
		{"POST", "dealership.test\r\nHost: " + here, "/office", nowhere},
		// The office is on the other authority only.
		{"POST", "dealership.test", "/office", nowhere},
		{"POST", "dealership.test.", "/office", nowhere},
		{"POST", "dealership.test", "/mcp/../office", nowhere},
		{"POST", "dealership.test\r\nX-Forwarded-Host: " + here, "/office", nowhere},

		// RFC 9112 §3.2.2: the authority of an absolute target replaces Host.
		{"POST", here, "http://" + here + "/mcp", mcp},
		{"POST", here, "http://" + here + "/mcp/../office", office},
		{"POST", here, "http://dealership.test/mcp", mcp},
		{"POST", here, "http://dealership.test/office", nowhere},
		{"POST", "dealership.test", "http://" + here + "/office", office},
		{"POST", here, "http://evil.test/mcp", nowhere},
		{"POST", here, "http://evil.test@" + here + "/office", office},
		{"POST", here, "http://" + here + "@dealership.test/office", nowhere},
		{"POST", here, "https://" + here + "/mcp", "403"},
	} {
		t.Run(strings.ReplaceAll(trick.method+" "+trick.host+" "+trick.target, here, "HERE"), func(t *testing.T) {
			t.Parallel()
			r := callTool(token, "search_vehicles", `{}`)
			text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\n", trick.method, trick.target, trick.host, token)
			if trick.method == "POST" {
				for i := 0; i < len(r.header); i += 2 {
					text += r.header[i] + ": " + r.header[i+1] + "\r\n"
				}
				text += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
			} else {
				text += "\r\n"
			}
			a := m.sendRaw(t, text)
			first, second, decided := strings.Cut(trick.want, " ")
			var status int
			switch _, err := fmt.Sscan(first, &status); {
			case err != nil:
				if upstream := m.passed(t, a, first); upstream.URI != second {
					t.Errorf("upstream the path is %s, want %s", upstream.URI, second)
				}
			case decided:
				m.denied(t, a, status, second)
			default:
				m.undecided(t, a, status)
			}
		})
	}
}
