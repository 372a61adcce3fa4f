package pim

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	pollEvery = 250 * time.Millisecond
	// pollTimeout is short, so that a connection that hangs is given up in time for
	// another to keep the view fresh.
	pollTimeout = time.Second
	loadTimeout = 30 * time.Second
	choresEvery = time.Second
	loadEvery   = 5 * time.Minute
	purgeEvery  = time.Minute
)

// Run follows the database and ends what is past its time, until ctx ends; its answer
// is nil then. It asks the provider about what was filed there.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range [...]chore{
		{"follow the database", pollEvery, s.poll},
		{"read everything", loadEvery, s.reloader()},
		{"end what is past its time", choresEvery, s.lapse},
		{"ask the provider", choresEvery, s.askProvider},
		{"remove old requests", purgeEvery, func(ctx context.Context) error { return s.store.purge(ctx, s.cfg.Keep) }},
	} {
		group.Go(func() error { return s.repeat(ctx, c) })
	}
	return group.Wait()
}

// chore is what is done again and again.
type chore struct {
	name  string
	every time.Duration
	do    func(context.Context) error
}

// repeat does a chore at once, then regularly, until ctx ends. It logs when an error
// comes and when it has gone.
func (s *Service) repeat(ctx context.Context, c chore) error {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	failing := false
	for {
		err := c.do(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			s.cfg.Log.WarnContext(ctx, "privileged access is impaired", "chore", c.name, "error", err)
		}
		if err == nil && failing {
			s.cfg.Log.InfoContext(ctx, "privileged access works again", "chore", c.name)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// poll brings the view up to date.
func (s *Service) poll(ctx context.Context) error {
	_, err := s.store.database(ctx) // opening it may take its time
	if err == nil {
		err = s.follow(ctx)
	}
	if err != nil {
		s.followed.Store(0)
		return err
	}
	s.followed.Store(s.cfg.Now().UnixNano())
	return nil
}

// follow reads what has changed since the last poll, or all.
func (s *Service) follow(ctx context.Context) error {
	began := s.cfg.Now()
	short, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	seen, newest, loaded := s.view.position()
	at, err := s.store.feed(short)
	if err != nil {
		return err
	}
	switch {
	case !loaded || at.change < newest:
		err = s.load(ctx, at, anew)
	case s.doubtful(began):
		err = s.load(ctx, at, doubted)
	case at.change > seen:
		err = s.catchUp(short, seen, at.change)
	}
	if err == nil {
		s.view.fresh(began, at.now)
	}
	return err
}

// doubtful reports whether the last poll failed or was long ago. The database may have
// been restored meanwhile, and be another one although its numbers have passed those
// that were seen.
func (s *Service) doubtful(now time.Time) bool {
	ago := now.UnixNano() - s.followed.Load()
	return ago > int64(staleAfter) || ago < -int64(staleAfter)
}

// loading is why all is read.
type loading int

const (
	beside  loading = iota // the polls, from time to time
	doubted                // it may be another database
	anew                   // it is the first time, or the database has gone back
)

// load reads all that matters as of now.
func (s *Service) load(ctx context.Context, at feed, why loading) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	generation := s.view.generation.Load()
	rows, err := s.store.mattering(ctx, at.now)
	if err == nil {
		s.view.replace(rows, at.change, generation, why)
	}
	return err
}

// catchUp reads what has changed between two numbers.
func (s *Service) catchUp(ctx context.Context, seen, end uint64) error {
	for seen < end {
		rows, err := s.store.changedAfter(ctx, seen)
		if err != nil {
			return err
		}
		s.view.apply(rows)
		if len(rows) == feedPage {
			seen = rows[feedPage-1].change
		} else {
			seen = end // numbers in between may have no request: it has changed again, or was removed
		}
		s.view.advance(seen)
	}
	return nil
}

// reloader reads all that matters from time to time, beside the poll: it may take
// longer than the view stays fresh. It finds what the feed doesn't tell, and lets the
// view forget what doesn't matter any more.
func (s *Service) reloader() func(context.Context) error {
	first := true
	return func(ctx context.Context) error {
		if first { // the poll does it
			first = false
			return nil
		}
		return s.reload(ctx)
	}
}

func (s *Service) reload(ctx context.Context) error {
	at, err := s.store.feed(ctx)
	if err != nil {
		return err
	}
	return s.load(ctx, at, beside)
}

// fresh says when a poll began that has succeeded, and what the database's clock said
// then. The way there counts as if its clock were ahead: nothing lasts too long.
func (v *View) fresh(began, now time.Time) {
	v.offset.Store(int64(now.Sub(began.Round(0))))
	v.polled.Store(began.UnixNano())
}

// lapse ends what is past its time, some at a time. Each replica tries; who is later
// finds nothing to do.
func (s *Service) lapse(ctx context.Context) error {
	for {
		some, err := s.store.due(ctx)
		if err != nil || len(some) == 0 {
			return err
		}
		if err := s.expire(ctx, some); err != nil {
			return err
		}
		if len(some) < duePage {
			return nil
		}
	}
}

func (s *Service) expire(ctx context.Context, some []Request) error {
	actions := make([]action, len(some))
	for i, r := range some {
		actions[i] = action{name: Lapse{}.name(), request: r}
	}
	if err := s.begin(actions...); err != nil {
		return err
	}
	changed, err := s.change(ctx, func(ctx context.Context, b *batch) error {
		for _, r := range some {
			if err := b.lapse(ctx, r.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range changed {
		s.record(ctx, action{name: Lapse{}.name(), request: r}.done())
	}
	s.lapsed.Add(uint64(len(changed)))
	return nil
}

// lapse ends a request that is past its time, still.
func (b *batch) lapse(ctx context.Context, id string) error {
	r, err := b.find(ctx, id)
	if err == nil {
		_, err = b.step(ctx, r, Lapse{})
	}
	if answered(err) { // somebody was quicker
		return nil
	}
	return err
}

// Stats is a snapshot for metrics.
type Stats struct {
	Pending    int           // requests that wait for a decision
	Live       int           // grants and approvals in force
	BreakGlass int           // of these, break-glass grants
	Age        time.Duration // of what the view knows; -1s: it has never known anything
	Lapsed     uint64        // requests that this process has ended for their time
	Unrecorded uint64        // outcomes that the journal didn't take
	Unfiled    uint64        // requests that the provider didn't take
}

// Stats returns them.
func (s *Service) Stats() Stats {
	now := s.cfg.Now()
	stats := Stats{Age: s.view.age(now), Lapsed: s.lapsed.Load(), Unrecorded: s.unrecorded.Load(), Unfiled: s.unfiled.Load()}
	stats.Pending, stats.Live, stats.BreakGlass = s.view.counts(s.view.clock(now))
	return stats
}

func (v *View) age(now time.Time) time.Duration {
	polled := v.polled.Load()
	if polled == 0 {
		return -time.Second
	}
	return time.Duration(now.UnixNano() - polled)
}
