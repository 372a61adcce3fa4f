package testenv

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
)

// The official TypeScript clients, by their packages.
const (
	TypeScriptSDK    = "@modelcontextprotocol/sdk"    // up to MCP 2025-11-25
	TypeScriptClient = "@modelcontextprotocol/client" // up to MCP 2026-07-28
)

//go:embed node/mcp-client.mjs
var typeScriptClient []byte

// TypeScriptCall lets an official TypeScript client connect, list the tools and
// call one of them.
type TypeScriptCall struct {
	Package   string         `json:"package"`   // TypeScriptSDK or TypeScriptClient
	URL       string         `json:"url"`       // of the MCP endpoint
	Token     string         `json:"token"`     // sent as Bearer; empty: none
	Version   string         `json:"version"`   // the MCP revision to speak; TypeScriptSDK always proposes its newest
	Tool      string         `json:"tool"`      // to call
	Arguments map[string]any `json:"arguments"` // of the tool
}

// TypeScriptResult is what the client made of it.
type TypeScriptResult struct {
	Version    string          `json:"version"` // that was negotiated
	Tools      []string        `json:"tools"`   // of tools/list
	IsError    bool            `json:"isError"`
	Text       string          `json:"text"`
	Structured json.RawMessage `json:"structured"`
	// Error is what the client threw, and ended with; empty if it didn't.
	Error string `json:"error"`
}

// Run makes the call. The error is one of the run, never of the call itself.
func (c TypeScriptCall) Run(ctx context.Context) (TypeScriptResult, error) {
	var result TypeScriptResult
	call, err := json.Marshal(c)
	if err != nil {
		return result, fmt.Errorf("run %s: %w", c.Package, err)
	}
	cmd, err := nodeScript(ctx, typeScriptClient, "TYPESCRIPT_CALL="+string(call))
	if err != nil {
		return result, err
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("run %s: %w:\n%s", c.Package, err, &complaints)
	}
	if err := json.Unmarshal(output, &result); err != nil {
		return result, fmt.Errorf("run %s: %w in:\n%s", c.Package, err, output)
	}
	return result, nil
}
