package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run carries events until ctx ends, and then, for at most lastWords, what is
// left. It returns an error only if it can't go on.
func (p *Pipeline) Run(ctx context.Context) error {
	defer p.codec.Close()
	group, ctx := errgroup.WithContext(ctx)
	delivering, stop := context.WithCancel(context.WithoutCancel(ctx))
	cut := make(chan struct{})
	group.Go(func() error {
		defer close(cut)
		return p.cutter(ctx)
	})
	group.Go(func() error { return p.deliverer(delivering) })
	group.Go(func() error { return p.heartbeats(ctx) })
	if p.index != nil {
		group.Go(func() error { return p.indexer(delivering) })
	}
	group.Go(func() error {
		defer stop()
		<-ctx.Done()
		<-cut
		p.drain()
		return nil
	})
	err := group.Wait()
	if n := p.sealed.Load() - p.archived.Load(); n > 0 {
		p.log.WarnContext(ctx, "audit trail: events wait for the next start, to be archived", "events", n)
	}
	return err
}

// tick is how often it is looked whether something is to be done.
const tick = 50 * time.Millisecond

// sleep waits; false: ctx ended.
func (p *Pipeline) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// slower is the pause after a pause, where trying again didn't help.
func slower(pause time.Duration) time.Duration {
	return min(max(2*pause, 200*time.Millisecond), 10*time.Second)
}

// lastWords is how long what is left at the end may take to reach the archive.
const lastWords = 3 * time.Second

// drain waits until everything that was cut is archived and indexed, or has no
// prospect of it.
func (p *Pipeline) drain() {
	deadline := time.Now().Add(lastWords)
	for time.Now().Before(deadline) {
		s := p.Status()
		indexed := p.index == nil || s.Indexed >= s.Sealed || s.Faults["index"] != nil
		if (s.Archived >= s.Sealed || s.Faults["archive"] != nil) && indexed {
			return
		}
		time.Sleep(tick)
	}
}

// Status says how far events have come: each number is a count of events.
type Status struct {
	Origin   string
	Next     uint64 // recorded
	Synced   uint64 // on the disk
	Sealed   uint64 // cut and signed
	Archived uint64
	Indexed  uint64
	Waiting  int              // cuts in the outbox
	Faults   map[string]error // by "cut", "archive", "index", "heartbeat"; only what fails now
}

// Status returns how far events have come.
func (p *Pipeline) Status() Status {
	return Status{
		Origin: p.origin, Next: p.journal.Next(), Synced: p.journal.Synced(), Sealed: p.sealed.Load(),
		Archived: p.archived.Load(), Indexed: p.indexed.Load(),
		Waiting: len(p.outbox.waiting()), Faults: p.faults.all(),
	}
}

// faults are what fails now, by part. A change is logged.
type faults struct {
	mu  sync.Mutex // guards now
	now map[string]error
}

// set says how a part fares, and reports whether that differs from before, or is
// something for a person now.
func (f *faults) set(part string, err error) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.now[part]
	if f.now == nil {
		f.now = make(map[string]error)
	}
	f.now[part] = err
	return (before == nil) != (err == nil) || needsPerson(before) != needsPerson(err)
}

func (f *faults) all() map[string]error {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string]error)
	for part, err := range f.now {
		if err != nil {
			all[part] = err
		}
	}
	return all
}

// report sets what a part's fault is, and logs when that changes.
func (p *Pipeline) report(ctx context.Context, part string, err error) {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return // it was told to stop
	}
	if !p.faults.set(part, err) {
		return
	}
	if err != nil {
		p.log.ErrorContext(ctx, "audit trail", "part", part, "error", err)
		return
	}
	p.log.InfoContext(ctx, "audit trail: well again", "part", part)
}
