package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// Build compiles a main package of this module, or of one that it requires in
// the version of go.mod, and returns the path of the binary below .tools/build.
// It needs the go command and the module's source. Code that hasn't changed
// isn't built again, and the tests of several packages may build at once. If
// this process has the race detector, the binary has it too.
func Build(ctx context.Context, pkg string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	dir := filepath.Join(root, ".tools", "build")
	binary := filepath.Join(dir, path.Base(pkg))
	arguments := []string{"build"}
	if raceDetector {
		binary += "-race"
		arguments = append(arguments, "-race")
	}
	unlock, err := lock(dir)
	if err != nil {
		return "", fmt.Errorf("build %s: %w", pkg, err)
	}
	defer unlock()
	cmd := command(ctx, "go", append(arguments, "-o", binary, pkg)...)
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w:\n%s", pkg, err, output)
	}
	return binary, nil
}

// lock waits until no other process builds into dir. The kernel lets go of it
// when this process ends, however it ends.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Name(), err), file.Close())
	}
	return func() { _ = file.Close() }, nil // which unlocks
}
