package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// The journal has one writer. What an administrator does at the command line is
// recorded by the service that runs beside it, through a socket in the journal's
// folder that only its owner can open. A conversation: lines of events, the end of
// writing; then "ok", or what went wrong.

const (
	appendSocket  = "append.sock"
	maxAppend     = 64 << 10
	appendTimeout = 5 * time.Second
)

// appender takes the record of an administrator's act.
type appender interface {
	Append(lines []byte, class audit.Class) error
}

// serveAppends serves the socket until ctx ends.
func serveAppends(ctx context.Context, dir string, journal appender, log *slog.Logger) error {
	path := filepath.Join(dir, appendSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that was killed
		return err
	}
	listener, err := listenUnix(path)
	if err != nil {
		return fmt.Errorf("audit socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("audit socket: %w", err)
		}
		running.Go(func() {
			if err := serveAppend(conn, journal); err != nil {
				log.WarnContext(ctx, "audit socket", "error", err)
			}
		})
	}
}

func listenUnix(path string) (net.Listener, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

func serveAppend(conn net.Conn, journal appender) error {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(appendTimeout)); err != nil {
		return err
	}
	lines, err := io.ReadAll(io.LimitReader(conn, maxAppend+1))
	if err != nil {
		return err
	}
	answer := "ok\n"
	if err := recordAct(lines, journal); err != nil {
		answer = err.Error() + "\n"
	}
	_, err = io.WriteString(conn, answer)
	return err
}

// recordAct takes nothing but administrators' acts: what the service itself
// records doesn't come over a socket.
func recordAct(lines []byte, journal appender) error {
	if len(lines) > maxAppend {
		return errors.New("too long")
	}
	for line := range bytes.Lines(lines) {
		event, err := audit.Parse(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return err
		}
		if event.EventType != "operator" || line[len(line)-1] != '\n' {
			return errors.New("not the record of an administrator's act")
		}
	}
	return journal.Append(lines, actClass)
}

// actClass is what the record of an administrator's act is owed.
const actClass = audit.Synced | audit.Single | audit.Reserve

// appendClient records through the service.
type appendClient struct{ path string }

// Append implements appender.
func (c appendClient) Append(lines []byte, _ audit.Class) error {
	conn, err := net.DialTimeout("unix", c.path, appendTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(appendTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(lines); err != nil {
		return err
	}
	if unix, ok := conn.(*net.UnixConn); ok {
		if err := unix.CloseWrite(); err != nil {
			return err
		}
	}
	answer, err := bufio.NewReader(io.LimitReader(conn, 4096)).ReadString('\n')
	if answer = strings.TrimSpace(answer); err != nil || answer != "ok" {
		return errors.Join(errors.New("the service did not record it: "+answer), err)
	}
	return nil
}
