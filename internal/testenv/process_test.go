package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVariable makes this test binary play a child process instead of testing.
const childVariable = "TESTENV_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childVariable); role != "" {
		os.Exit(child(role))
	}
	os.Exit(m.Run())
}

// child plays one role and returns its exit code.
func child(role string) int {
	signals := make(chan os.Signal, 1)
	switch role {
	case "exit 3":
		fmt.Println("giving up")
		return 3
	case "sleep":
		fmt.Println("ready")
		select {}
	case "graceful":
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("ready")
		<-signals
		return 0
	case "graceful, failing":
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("ready")
		<-signals
		fmt.Fprintln(os.Stderr, "could not flush")
		return 66
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "sallyport", "sallyport, never ready":
		return playSallyport(role == "sallyport", signals)
	case "parent":
		// The child of this child holds the pipe that this one got.
		cmd := self("sleep")
		cmd.ExtraFiles = []*os.File{os.NewFile(3, "pipe")}
		if _, err := StartProcess(cmd, os.Stdout); err != nil {
			fmt.Println(err)
			return 1
		}
		select {}
	}
	return 1
}

func self(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+role)
	return cmd
}

// startReady starts a child and waits for its first line.
func startReady(t *testing.T, role string) *Process {
	t.Helper()
	output, input := io.Pipe()
	p, err := StartProcess(self(role), input)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	if line, err := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, output) }() // until the test binary ends
	return p
}

func TestStop(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // what is in the error; empty: none
		"sleep":             "",
		"graceful":          "",
		"graceful, failing": "could not flush",
		"stubborn":          "still runs 100ms after SIGTERM, killed",
	}
	for role, want := range tests {
		t.Run(role, func(t *testing.T) {
			p := startReady(t, role)
			p.grace = stopGrace
			if role == "stubborn" {
				p.grace = 100 * time.Millisecond
			}
			err := p.Stop()
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			select {
			case <-p.Done():
			default:
				t.Error("the child isn't reaped after Stop")
			}
			if err := p.Stop(); err != nil {
				t.Errorf("a second Stop: %v", err)
			}
		})
	}
}

func TestStopReportsAnEarlyEnd(t *testing.T) {
	t.Parallel()
	p, err := StartProcess(self("exit 3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "giving up") {
		t.Errorf("got %v, want the exit status and the output", err)
	}
}

func TestKillIsNoError(t *testing.T) {
	t.Parallel()
	p := startReady(t, "stubborn")
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("a second Kill: %v", err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("Stop after Kill: %v", err)
	}
}

func TestStartProcessReportsWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := StartProcess(exec.Command("/nonexistent/binary"), nil); err == nil || !strings.Contains(err.Error(), "/nonexistent/binary") {
		t.Errorf("got %v", err)
	}
}

func TestAwaitReady(t *testing.T) {
	t.Parallel()
	p := startReady(t, "sleep")
	asked := 0
	ready := func(context.Context) error {
		if asked++; asked < 3 {
			return errors.New("warming up")
		}
		return nil
	}
	if err := p.AwaitReady(t.Context(), ready); err != nil || asked != 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	never := func(context.Context) error { return errors.New("warming up") }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.AwaitReady(ctx, never)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "warming up") {
		t.Errorf("got %v, want the deadline and the last answer", err)
	}
	ended, err := StartProcess(self("exit 3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ended.AwaitReady(t.Context(), never); err == nil || !strings.Contains(err.Error(), "giving up") {
		t.Errorf("got %v, want the output of the child that ended", err)
	}
}

// TestChildDiesWithItsParent holds on Linux only. The grandchild has one end of
// a pipe: the other end sees the grandchild's death.
func TestChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cmd := self("parent")
	cmd.ExtraFiles = []*os.File{writer}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the grandchild said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked
	if err := reader.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the grandchild outlives its parent: %v", err)
	}
}
