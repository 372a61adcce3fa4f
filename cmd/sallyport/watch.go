package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime lets a writer finish before the files are read, but not for longer
	// than longestBurst: in a folder where something is written all the time, it
	// never gets quiet.
	settleTime   = 100 * time.Millisecond
	longestBurst = 400 * time.Millisecond
	// maxWatchedFile bounds what is read of one file to see whether it changed.
	maxWatchedFile = 16 << 20
)

// watch reloads on SIGHUP and when the content of a watched file changes, until
// ctx ends. Folders are watched rather than files, because editors and
// Kubernetes put a new file in the place of the old one.
func (r *reloader) watch(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer watcher.Close() //nolint:errcheck // nothing depends on it

	files, seen := r.current.Load().files, r.current.Load().digest
	r.follow(ctx, watcher, files)
	settle := time.NewTimer(0) // looks once: a file may have changed before it was watched
	var burst time.Time        // when the first event came since the last look; zero: none came
	soon := func() {
		if burst.IsZero() {
			burst = time.Now()
		}
		if time.Since(burst) < longestBurst {
			settle.Reset(settleTime)
		}
	}
	retry := newRetry()
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C: // what kept a reload from succeeding may be over
			retry.after(r.reload(ctx, "the last one failed"))
		case <-watcher.Events:
			soon()
			continue
		case err := <-watcher.Errors: // events may be lost, so look
			r.log.WarnContext(ctx, "watch files", "error", err)
			soon()
			continue
		case <-settle.C:
			burst = time.Time{}
			// The digest of what is attempted is kept, not of what succeeded: a
			// broken file is complained of once, and tried again once it differs.
			now := digestFiles(files)
			if now == seen {
				continue
			}
			seen = now
			retry.reset(r.reload(ctx, "file changed"))
		case <-hangup:
			seen = digestFiles(files)
			retry.reset(r.reload(ctx, "SIGHUP"))
		}
		if fresh := r.current.Load(); !slices.Equal(files, fresh.files) {
			files, seen = fresh.files, fresh.digest
			r.follow(ctx, watcher, files)
			settle.Reset(0)
		}
	}
}

// retry is when a failed reload is tried again though no file has changed: the
// failure may have been the moment's.
type retry struct {
	*time.Timer
	wait time.Duration
}

const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

func newRetry() *retry {
	r := &retry{Timer: time.NewTimer(time.Hour), wait: firstRetry}
	r.Stop()
	return r
}

// reset begins anew after a reload for another reason.
func (r *retry) reset(ok bool) {
	r.wait = firstRetry
	r.after(ok)
}

// after waits longer after each failure.
func (r *retry) after(ok bool) {
	r.Stop()
	if !ok {
		r.Reset(r.wait)
		r.wait = min(2*r.wait, lastRetry)
	}
}

// revocationPoll is how often the revocation list is looked at: it takes effect
// within a second, whatever else goes on and on any file system.
const revocationPoll = 400 * time.Millisecond

// watchRevocations keeps the list of the configuration in use up to date.
func (r *reloader) watchRevocations(ctx context.Context) error {
	tick := time.NewTicker(revocationPoll)
	defer tick.Stop()
	var of *state              // the configuration whose list was read last
	var seen [sha256.Size]byte // of that list, with its name
	var complaint string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		current := r.current.Load()
		file := current.config.Authentication.RevocationsFile
		if file == "" {
			continue
		}
		now := digestFiles([]string{file})
		// With each configuration comes a list, which may be older than the one that
		// was seen here; and after a complaint the old one may be back.
		if current == of && now == seen && complaint == "" {
			continue
		}
		err := r.revocations.ReloadFile(file)
		if err == nil {
			of, seen, complaint = current, now, ""
			r.metrics.revocationsFailed.Set(0)
			continue
		}
		// Tried again with the next tick, and complained of once.
		r.metrics.revocationsFailed.Set(1)
		if complaint != err.Error() {
			complaint = err.Error()
			r.log.ErrorContext(ctx, "revocation list not read, the old one stays", "error", err)
		}
	}
}

// follow watches the folders of the files. A folder that can't be watched is
// not worth ending the service for: SIGHUP still works.
func (r *reloader) follow(ctx context.Context, watcher *fsnotify.Watcher, files []string) {
	for _, file := range files {
		if err := watcher.Add(filepath.Dir(file)); err != nil {
			r.log.WarnContext(ctx, "changes of a file won't be noticed, send SIGHUP", "file", file, "error", err)
		}
	}
}

// digestFiles is the same as long as the files' contents are.
func digestFiles(files []string) [sha256.Size]byte {
	h := sha256.New()
	for _, name := range files {
		n, err := copyFile(h, name)
		fmt.Fprintln(h, name, n, err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func copyFile(to io.Writer, name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(to, io.LimitReader(f, maxWatchedFile))
}
