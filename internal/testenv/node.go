package testenv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Node finds the Node.js that `make tools` installs, and the folder whose
// node_modules hold the packages of internal/testenv/node. The error names the
// command that installs them.
func Node() (binary, dir string, err error) {
	binary, err = tool(filepath.Join("node", "bin", "node"))
	if err != nil {
		return "", "", fmt.Errorf("the Node packages are not installed: run `make tools` (%w)", err)
	}
	return binary, filepath.Dir(filepath.Dir(binary)), nil
}

// nodeScript is the command that runs a module of internal/testenv/node with one
// more environment variable. The script goes in by standard input, because
// imports are looked up beside the script: this way, from the working directory.
func nodeScript(ctx context.Context, script []byte, variable string) (*exec.Cmd, error) {
	node, dir, err := Node()
	if err != nil {
		return nil, err
	}
	cmd := command(ctx, node, "--input-type=module", "-")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), variable)
	cmd.Stdin = bytes.NewReader(script)
	return cmd, nil
}
