package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
)

// everythingPackage is the server that the MCP conformance suite is made for, in
// the version of the Go SDK that go.mod has.
const everythingPackage = "github.com/modelcontextprotocol/go-sdk/conformance/everything-server"

// EverythingServer is a running MCP server with everything that the conformance
// suite asks for. It is safe for concurrent use.
type EverythingServer struct {
	*Process
	address string
}

// StartEverythingServer builds and starts the server and returns when it
// accepts connections: with sessions for revisions up to 2025-11-25, stateless
// from 2026-07-28 on. ctx bounds the build and the start.
func StartEverythingServer(ctx context.Context, stateless bool, log io.Writer) (*EverythingServer, error) {
	binary, err := Build(ctx, everythingPackage)
	if err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	address := "127.0.0.1:" + strconv.Itoa(port)
	process, err := StartProcess(lasting(binary, "-http="+address, "-stateless="+strconv.FormatBool(stateless)), log)
	if err != nil {
		return nil, err
	}
	connect := func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if err := process.AwaitReady(ctx, connect); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return &EverythingServer{Process: process, address: address}, nil
}

// Address is the host:port that it listens on; the MCP endpoint has the path "/".
func (s *EverythingServer) Address() string { return s.address }

// Checks counts the outcomes of one conformance scenario.
type Checks struct{ Passed, Failed int }

// summaryLine is one scenario in the suite's summary, such as
// "✓ tools-list: 3 passed, 0 failed".
var summaryLine = regexp.MustCompile(`(?m)^[✓✗] ([a-z0-9-]+): ([0-9]+) passed, ([0-9]+) failed$`)

// Conformance runs the scenarios that the MCP revision requires (2025-11-25 or
// 2026-07-28) against the server at this URL, and returns their outcomes by
// name. The suite sends no token. Failed checks are no error.
func Conformance(ctx context.Context, url, revision string) (map[string]Checks, error) {
	node, dir, err := Node()
	if err != nil {
		return nil, err
	}
	suite := filepath.Join(dir, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js")
	cmd := command(ctx, node, suite, "server", "--url", url, "--requirements", revision)
	output, runErr := cmd.CombinedOutput() // which fails if a check did
	outcomes := make(map[string]Checks)
	for _, match := range summaryLine.FindAllSubmatch(output, -1) {
		passed, _ := strconv.Atoi(string(match[2])) // digits
		failed, _ := strconv.Atoi(string(match[3]))
		outcomes[string(match[1])] = Checks{Passed: passed, Failed: failed}
	}
	if len(outcomes) == 0 {
		return nil, errors.Join(fmt.Errorf("run the MCP conformance suite: no summary in:\n%s", output), runErr)
	}
	return outcomes, nil
}
