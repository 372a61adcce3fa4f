package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// stopGrace is how long a process may take to end by itself after SIGTERM.
	stopGrace = 5 * time.Second
	// readyTimeout is how long a component may take to become ready.
	readyTimeout = 30 * time.Second
	pollInterval = 20 * time.Millisecond
)

// Process is a started child. It is safe for concurrent use.
type Process struct {
	name string
	cmd  *exec.Cmd
	tail *LogBuffer

	grace time.Duration // after SIGTERM
	ended func()        // runs when the child is reaped, before done is closed
	done  chan struct{} // closed when the child is reaped
	err   error         // what Wait said; read only after done

	stop sync.Once
}

// StartProcess starts cmd and reaps it whenever it ends. Its output goes to log
// (nil: nowhere); the last part is kept for error messages. The child is killed
// when this process dies, however it dies (Linux only), and is in a process
// group of its own, so that Ctrl-C reaches it only through Stop.
func StartProcess(cmd *exec.Cmd, log io.Writer) (*Process, error) {
	return startProcess(cmd, log, func() {})
}

// command is a command of this package: its programs and arguments come from the
// test or the demo that uses it.
func command(ctx context.Context, program string, arguments ...string) *exec.Cmd {
	return exec.CommandContext(ctx, program, arguments...) //nolint:gosec // running given programs is what this package is for
}

// lasting is for commands that run until they are stopped, whatever becomes of
// the context that bounds their start.
func lasting(program string, arguments ...string) *exec.Cmd {
	return command(context.Background(), program, arguments...)
}

func startProcess(cmd *exec.Cmd, log io.Writer, ended func()) (*Process, error) {
	p := &Process{
		name: cmd.Path, cmd: cmd, tail: NewLogBuffer(16 << 10),
		grace: stopGrace, ended: ended, done: make(chan struct{}),
	}
	out := io.Writer(p.tail)
	if log != nil {
		out = io.MultiWriter(p.tail, log)
	}
	// One writer for both: os/exec then uses one pipe, and lines keep their order.
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = childAttributes()
	// A grandchild that keeps the pipe open must not make Wait hang.
	cmd.WaitDelay = stopGrace

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// run holds its thread until the child ended: the kernel sends the parent-death
// signal when the *thread* that forked ends, not the process (prctl(2)).
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	close(started)
	p.err = p.cmd.Wait()
	p.ended()
	close(p.done)
}

// PID is the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Tail is the last part of the child's output.
func (p *Process) Tail() string { return p.tail.String() }

// AwaitReady asks ready again and again until it returns nil. It fails when the
// child ends or ctx does, with the last answer and the child's last output.
func (p *Process) AwaitReady(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		answer := ready(ctx)
		if answer == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // rather than that it was interrupted
			last = answer
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.failed("ended before it was ready", p.err)
		case <-ctx.Done():
			return p.failed("isn't ready", errors.Join(ctx.Err(), last))
		}
	}
}

// Stop ends the child: SIGTERM, and after a grace of five seconds SIGKILL. It
// returns when the child is reaped, at once if it already was. Needing SIGKILL
// is an error, and so is an exit code other than zero; ending by the signal that
// Stop sent is not.
func (p *Process) Stop() error {
	var err error
	p.stop.Do(func() { err = p.terminate() })
	<-p.done
	return err
}

func (p *Process) terminate() error {
	select {
	case <-p.done:
		return p.exitError()
	default:
	}
	// It may end by itself just now, which is as good.
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("stop %s: %w", p.name, err), p.Kill())
	}
	grace := time.NewTimer(p.grace)
	defer grace.Stop()
	select {
	case <-p.done:
		return p.exitError()
	case <-grace.C:
		return errors.Join(p.failed(fmt.Sprintf("still runs %v after SIGTERM, killed", p.grace), nil), p.Kill())
	}
}

// Kill ends the child with SIGKILL, as a crash would, and returns when it is
// reaped. A child that has already ended is no error.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return nil
}

// exitError describes an end that Stop and Kill don't explain. Call it after done.
func (p *Process) exitError() error {
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		status, ok := exit.Sys().(syscall.WaitStatus)
		if ok && status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM) {
			return nil
		}
	}
	if p.err == nil {
		return nil
	}
	return p.failed("ended badly", p.err)
}

func (p *Process) failed(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w; its last output:\n%s", p.name, what, err, p.tail)
	}
	return fmt.Errorf("%s %s; its last output:\n%s", p.name, what, p.tail)
}
