package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "decisions.jsonl")
	if err := os.WriteFile(name, []byte(`{"id":"cut by a cr`), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for writer := range 8 {
		wait.Go(func() {
			for i := range 50 {
				if err := log.Append(fmt.Appendf(nil, "{\"id\":\"%d-%d\"}\n", writer, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(records(t, name)); got != 8*50 {
		t.Errorf("%d records can be read, want %d", got, 8*50)
	}
}

// records are the lines that are records.
func records(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range bytes.Lines(text) {
		var record struct{ ID string }
		if json.Unmarshal(line, &record) == nil && record.ID != "" {
			ids = append(ids, record.ID)
		}
	}
	return ids
}

func TestOpenLogMode(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "decisions.jsonl")
	log, err := OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := OpenLog(filepath.Join(name, "x")); err == nil || !strings.Contains(err.Error(), "open decision log") {
		t.Errorf("opened below a file: %v", err)
	}
}

// TestFullDisk: a record is torn, further ones fail with nothing written, then
// there is room again. What Append confirmed can be read. The limit is the
// process's, so this test runs alone.
func TestFullDisk(t *testing.T) {
	name := filepath.Join(t.TempDir(), "decisions.jsonl")
	log, err := OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	limit := func(bytes uint64) {
		t.Helper()
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	var unlimited syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
		t.Fatal(err)
	}
	limit(40) // two records and a part of the third
	defer limit(unlimited.Cur)
	var confirmed []string
	for i := range 6 {
		if i == 4 {
			limit(unlimited.Cur)
		}
		id := fmt.Sprintf("record-%d", i)
		if log.Append(fmt.Appendf(nil, "{\"id\":%q}\n", id)) == nil {
			confirmed = append(confirmed, id)
		}
	}
	if got := records(t, name); strings.Join(got, " ") != strings.Join(confirmed, " ") || len(confirmed) != 4 {
		t.Errorf("confirmed %v, can be read %v", confirmed, got)
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "decisions.jsonl")
	log, err := OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	write := func(id string) {
		t.Helper()
		if err := log.Append(fmt.Appendf(nil, "{\"id\":%q}\n", id)); err != nil {
			t.Fatal(err)
		}
	}
	write("before")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write("between")
	if err := log.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("after")
	if got := strings.Join(records(t, name+".1"), " "); got != "before between" {
		t.Errorf("the old file has %s", got)
	}
	if got := strings.Join(records(t, name), " "); got != "after" {
		t.Errorf("the new file has %s", got)
	}
}

// TestStuckReader: a pipe that nobody reads fails records in time, and says so.
func TestStuckReader(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(name, os.O_RDWR, 0) // keeps the pipe open
	if err != nil {
		t.Fatal(err)
	}
	log, err := OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	full := bytes.Repeat([]byte("x"), 1<<20) // more than a pipe holds
	first := make(chan error, 1)
	go func() { first <- log.Append(full) }()
	for log.Healthy() {
		time.Sleep(10 * time.Millisecond)
	}
	if err := log.Append([]byte("{}\n")); !errors.Is(err, errStuck) {
		t.Errorf("got %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	if err := <-first; err != nil || !log.Healthy() {
		t.Errorf("it didn't recover: %v, healthy %v", err, log.Healthy())
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	_ = reader.Close()
}
