package testenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// EnvoyBinary finds the Envoy to run: $SALLYPORT_ENVOY, then .tools/envoy of the
// module that holds the working directory, then .tools/envoy or envoy beside the
// running executable or its parent folder, then PATH. The error names the
// command that installs it.
func EnvoyBinary() (string, error) {
	if path := os.Getenv("SALLYPORT_ENVOY"); path != "" {
		if err := executable(path); err != nil {
			return "", fmt.Errorf("envoy of SALLYPORT_ENVOY: %w", err)
		}
		return path, nil
	}
	path, err := tool("envoy")
	if err == nil {
		return path, nil
	}
	if path, lookErr := exec.LookPath("envoy"); lookErr == nil {
		return path, nil
	}
	return "", fmt.Errorf("envoy is not installed: run `make tools`, or set SALLYPORT_ENVOY to its path (%w)", err)
}

// tool finds a file that `make tools` installed, by its path below .tools.
func tool(name string) (string, error) {
	var errs []error
	for _, dir := range toolDirs() {
		path := filepath.Join(dir, name)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

func toolDirs() []string {
	var dirs []string
	if root, err := moduleRoot(); err == nil {
		dirs = append(dirs, filepath.Join(root, ".tools"))
	}
	if self, err := os.Executable(); err == nil {
		here := filepath.Dir(self)
		dirs = append(dirs, filepath.Join(here, ".tools"), filepath.Join(filepath.Dir(here), ".tools"), here)
	}
	return dirs
}

// moduleRoot is the nearest folder with a go.mod, upwards from the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module root: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find module root: %w", fs.ErrNotExist)
		}
		dir = parent
	}
}

func executable(path string) error {
	info, err := os.Stat(path) //nolint:gosec // the caller may name any program to run
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not executable", path)
	}
	return nil
}

// FreePort is a TCP port that was free on 127.0.0.1 a moment ago. Where the
// component can choose for itself (port 0), let it: that has no race.
func FreePort() (int, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// Ports that no system hands out by itself (Linux begins at 32768, others later):
// what is free there stays free until somebody names it. A port that the system
// chose could become a client's own before it is used. Worse, two Envoys could
// share it without a word, since they listen with SO_REUSEPORT.
const (
	lowestPort = 10_240
	portRange  = 32_768 - lowestPort
)

// FreePorts are n different ports, each as FreePort gives one.
func FreePorts(n int) ([]int, error) {
	ports := make([]int, 0, n)
	tries := 100 + 10*n
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + rand.IntN(portRange) //nolint:gosec // to meet nobody, not to hide
		var config net.ListenConfig
		listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		// All stay taken until the last is found, so that no two are the same.
		defer listener.Close() //nolint:errcheck // it has no connections to lose
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("find %d free ports: only %d were found in %d tries", n, len(ports), tries)
}
