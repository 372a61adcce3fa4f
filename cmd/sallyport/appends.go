package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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
// folder that only its owner can open. A conversation: an act as JSON, the end of
// writing; then "ok", or what went wrong.

// act is what an administrator does. Its event is made by whoever has the journal.
type act struct {
	UserID   string         `json:"user_id"` // at the operating system
	Action   string         `json:"action"`
	Status   string         `json:"status"`
	Metadata map[string]any `json:"metadata"`
}

// record appends the event of the act.
func (a *act) record(journal appender) error {
	entry := audit.Entry{Type: "operator", UserID: a.UserID, Action: a.Action, Status: a.Status, Metadata: a.Metadata}
	line, err := entry.Line(time.Now())
	if err != nil {
		return err
	}
	return journal.Append(line, audit.Synced|audit.Single|audit.Reserve)
}

const (
	appendSocket  = "append.sock"
	maxAppend     = 32 << 10 // of an act; its event is a little longer
	mostAppends   = 8        // at a time; others wait
	appendTimeout = 5 * time.Second
)

// appender takes events.
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
	running, turns := new(sync.WaitGroup), make(chan struct{}, mostAppends)
	defer running.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			log.WarnContext(ctx, "audit socket", "error", err) // no reason to end the service
			time.Sleep(100 * time.Millisecond)
			continue
		}
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
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
	defer conn.Close() //nolint:errcheck // everything is read and written by then
	if err := conn.SetDeadline(time.Now().Add(appendTimeout)); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(conn, maxAppend+1))
	if err != nil {
		return err
	}
	answer := "ok\n"
	if err := recordAct(text, journal); err != nil {
		answer = err.Error() + "\n"
	}
	_, err = io.WriteString(conn, answer)
	return err
}

func recordAct(text []byte, journal appender) error {
	if len(text) > maxAppend {
		return fmt.Errorf("more than %d bytes", maxAppend)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var a act
	if err := decoder.Decode(&a); err != nil {
		return fmt.Errorf("not an act: %w", err)
	}
	if a.UserID == "" || a.Action == "" {
		return errors.New("not an act: it lacks user_id or action")
	}
	return a.record(journal)
}

// send records the act through the service.
func (a *act) send(ctx context.Context, socket string) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: appendTimeout}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is what counts
	if err := conn.SetDeadline(time.Now().Add(appendTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(text); err != nil {
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
