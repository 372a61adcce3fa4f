package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sallyport/sallyport/internal/testenv"
)

// TestCommands runs testdata/*.txtar with the built binary. Beside testscript's
// own commands there is
//
//	exits CODE PROGRAM [ARGUMENT...]
//
// which is exec for an exact exit code. The folder tls holds an authority's ca.pem
// with a certificate from it, sallyport.pem and sallyport.key.
func TestCommands(t *testing.T) {
	t.Parallel()
	binary, err := testenv.Build(t.Context(), "github.com/sallyport/sallyport/cmd/sallyport")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			bin := filepath.Join(env.WorkDir, ".bin")
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			certificates := filepath.Join(env.WorkDir, "tls")
			if err := errors.Join(os.Mkdir(bin, 0o700), os.Symlink(binary, filepath.Join(bin, "sallyport")), os.Mkdir(certificates, 0o700)); err != nil {
				return err
			}
			authority, err := testenv.NewAuthority(certificates)
			if err == nil {
				_, _, err = authority.Issue("sallyport", "sallyport.test")
			}
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}
