package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a provider whose answers a test chooses.
type fake struct {
	mu    sync.Mutex
	check func(ctx context.Context, who Subject) (Status, error)
	file  func() (Filed, error)
	asked atomic.Int64
}

func (f *fake) Name() string { return "fake" }

func (f *fake) Check(ctx context.Context, who Subject) (Status, error) {
	f.asked.Add(1)
	f.mu.Lock()
	check := f.check
	f.mu.Unlock()
	return check(ctx, who)
}

func (f *fake) File(context.Context, Filing) (Filed, error)          { return f.file() }
func (f *fake) Poll(context.Context, string, Subject) (Filed, error) { return f.file() }

func (f *fake) answers(status Status, err error) {
	f.does(func(context.Context, Subject) (Status, error) { return status, err })
}

func (f *fake) does(check func(context.Context, Subject) (Status, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.check = check
}

func (f *fake) wantAsked(t *testing.T, want int64) {
	t.Helper()
	if got := f.asked.Load(); got != want {
		t.Errorf("the provider was asked %d times, want %d", got, want)
	}
}

var ann = Subject{User: "ann", Role: "admin"}

const guardTimeout = 5 * time.Second

func newGuard(t testing.TB, f *fake) *Guard {
	t.Helper()
	g, err := NewGuard(f, guardTimeout, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// bubble runs a test with a guard in fake time.
func bubble(t *testing.T, test func(t *testing.T, g *Guard, f *fake)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		test(t, newGuard(t, f), f)
	})
}

// wantCheck asks and wants this answer after this time.
func wantCheck(t *testing.T, g *Guard, who Subject, active bool, wantErr error, takes time.Duration) {
	t.Helper()
	began := time.Now()
	status, err := g.Check(t.Context(), who)
	if status.Active != active || !errors.Is(err, wantErr) {
		t.Errorf("Check(%v) = %v, %v; want active %v and error %v", who, status, err, active, wantErr)
	}
	if wantErr != nil && status != (Status{}) {
		t.Errorf("Check(%v) = %v with an error", who, status)
	}
	if took := time.Since(began); took != takes {
		t.Errorf("Check(%v) took %v, want %v", who, took, takes)
	}
}

func user(i int) Subject { return Subject{User: fmt.Sprint("user", i), Role: "admin"} }

func hang(ctx context.Context, _ Subject) (Status, error) {
	<-ctx.Done()
	return Status{}, ctx.Err()
}

func TestGuardKeepsPositiveAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.answers(Status{Active: true, Evidence: "e1"}, nil)
		wantCheck(t, g, ann, true, nil, 0)
		time.Sleep(guardPositive - 1)
		wantCheck(t, g, ann, true, nil, 0)
		f.wantAsked(t, 1)
		f.answers(Status{}, nil)
		time.Sleep(time.Nanosecond)
		wantCheck(t, g, ann, false, nil, 0)
		f.wantAsked(t, 2)
	})
}

func TestGuardKeepsUntilTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.answers(Status{Active: true, Until: time.Now().Add(7 * time.Second)}, nil)
		wantCheck(t, g, ann, true, nil, 0)
		time.Sleep(7*time.Second - 1)
		wantCheck(t, g, ann, true, nil, 0)
		f.wantAsked(t, 1)
		time.Sleep(time.Nanosecond)
		wantCheck(t, g, ann, false, nil, 0) // the provider says so still, but it has ended
		f.wantAsked(t, 2)
	})
}

func TestGuardKeepsNegativeAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.answers(Status{}, nil)
		wantCheck(t, g, ann, false, nil, 0)
		f.answers(Status{Active: true}, nil)
		time.Sleep(guardNegative - 1)
		wantCheck(t, g, ann, false, nil, 0)
		time.Sleep(time.Nanosecond)
		wantCheck(t, g, ann, true, nil, 0)
		f.wantAsked(t, 2)
	})
}

func TestGuardCountsAgeFromTheQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(func(context.Context, Subject) (Status, error) {
			time.Sleep(4 * time.Second)
			return Status{}, nil
		})
		wantCheck(t, g, ann, false, nil, 4*time.Second)
		time.Sleep(time.Second)
		wantCheck(t, g, ann, false, nil, 4*time.Second)
		f.wantAsked(t, 2)
	})
}

func TestGuardKeepsSubjectsApart(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(func(_ context.Context, who Subject) (Status, error) { return Status{Active: who == ann}, nil })
		wantCheck(t, g, ann, true, nil, 0)
		wantCheck(t, g, Subject{User: "ann", Role: "owner"}, false, nil, 0)
		wantCheck(t, g, Subject{User: "anna", Role: "dmin"}, false, nil, 0)
		wantCheck(t, g, Subject{User: "Ann", Role: "admin"}, false, nil, 0)
	})
}

func TestGuardNeverKeepsErrors(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.answers(Status{Active: true}, ErrAnswer)
		wantCheck(t, g, ann, false, ErrAnswer, 0)
		f.answers(Status{Active: true}, nil)
		wantCheck(t, g, ann, true, nil, 0)
		f.wantAsked(t, 2)
	})
}

func TestGuardHang(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(hang)
		wantCheck(t, g, ann, false, context.DeadlineExceeded, guardTimeout)
		wantCheck(t, g, ann, false, ErrOpen, 0) // alone, so far
		wantCheck(t, g, user(0), false, context.DeadlineExceeded, guardTimeout)
		for i := range 100 {
			wantCheck(t, g, user(i), false, ErrOpen, 0)
		}
		f.wantAsked(t, 2)
		if !g.Counts().Open {
			t.Error("it doesn't count as open")
		}
	})
}

// A mistake in an adapter is an error, as anywhere else in a decision.
func TestGuardPanic(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(func(context.Context, Subject) (Status, error) { panic("a nil map") })
		status, err := g.Check(t.Context(), ann)
		if status.Active || err == nil || !Failing(err) || !strings.Contains(err.Error(), "a nil map") {
			t.Errorf("%+v, %v", status, err)
		}
	})
}

// A provider that doesn't look at its context costs a caller no more.
func TestGuardHangForGood(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		free := make(chan struct{})
		f.does(func(context.Context, Subject) (Status, error) {
			<-free
			return Status{Active: true}, nil
		})
		wantCheck(t, g, ann, false, context.DeadlineExceeded, guardTimeout)
		wantCheck(t, g, ann, false, ErrOpen, 0)
		close(free)
		synctest.Wait()
		wantCheck(t, g, ann, false, ErrOpen, 0) // its late answer isn't one
	})
}

// One slow answer among others isn't a provider that hangs.
func TestGuardSlow(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(func(ctx context.Context, who Subject) (Status, error) {
			if who == ann {
				return hang(ctx, who)
			}
			return Status{Active: true}, nil
		})
		var wait sync.WaitGroup
		wait.Go(func() { wantCheck(t, g, ann, false, context.DeadlineExceeded, guardTimeout) })
		synctest.Wait()
		time.Sleep(time.Second)
		wantCheck(t, g, user(1), true, nil, 0)
		wait.Wait()
		wantCheck(t, g, user(2), true, nil, 0)
	})
}

func TestGuardCallerGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(func(context.Context, Subject) (Status, error) {
			time.Sleep(2 * time.Second)
			return Status{Active: true}, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.Check(ctx, ann); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Check = %v", err)
		}
		wantCheck(t, g, ann, true, nil, time.Second) // of the question that is under way
		f.wantAsked(t, 1)
	})
}

// What was answered before the provider failed counts as long as ever.
func TestGuardKeptWhileOpen(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.answers(Status{Active: true}, nil)
		wantCheck(t, g, ann, true, nil, 0)
		f.answers(Status{}, &Error{Status: 429, RetryIn: time.Minute})
		if _, err := g.Check(t.Context(), user(1)); err == nil {
			t.Error("no error")
		}
		time.Sleep(guardPositive - 1)
		wantCheck(t, g, ann, true, nil, 0)
		time.Sleep(time.Nanosecond)
		wantCheck(t, g, ann, false, ErrOpen, 0)
	})
}

func TestGuardAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(func(context.Context, Subject) (Status, error) {
			time.Sleep(time.Second)
			return Status{Active: true}, nil
		})
		var wait sync.WaitGroup
		for i := range guardAtOnce {
			wait.Go(func() { wantCheck(t, g, user(i), true, nil, time.Second) })
		}
		synctest.Wait()
		wantCheck(t, g, ann, false, ErrBusy, 0)
		wait.Wait()
		wantCheck(t, g, ann, true, nil, time.Second)
		f.wantAsked(t, guardAtOnce+1)
		if got := g.Counts(); got != (Counts{Asked: guardAtOnce + 1, Refused: 1}) {
			t.Errorf("Counts() = %+v", got)
		}
	})
}

func TestGuardSharesQuestions(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(func(context.Context, Subject) (Status, error) {
			time.Sleep(time.Second)
			return Status{Active: true}, nil
		})
		var wait sync.WaitGroup
		for range 1000 {
			wait.Go(func() { wantCheck(t, g, ann, true, nil, time.Second) })
		}
		wait.Wait()
		f.wantAsked(t, 1)
	})
}

func TestGuardForget(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.answers(Status{}, nil)
		wantCheck(t, g, ann, false, nil, 0)
		f.answers(Status{Active: true}, nil)
		g.Forget(ann)
		wantCheck(t, g, ann, true, nil, 0)

		// A question from before isn't kept and isn't joined.
		f.does(func(context.Context, Subject) (Status, error) {
			time.Sleep(time.Second)
			return Status{}, nil
		})
		var wait sync.WaitGroup
		wait.Go(func() { wantCheck(t, g, user(1), false, nil, time.Second) })
		synctest.Wait()
		g.Forget(user(1))
		f.answers(Status{Active: true}, nil)
		wantCheck(t, g, user(1), true, nil, 0)
		wait.Wait()
		wantCheck(t, g, user(1), true, nil, 0)
	})
}

func TestGuardFiling(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.answers(Status{}, nil)
		wantCheck(t, g, ann, false, nil, 0)
		f.answers(Status{Active: true}, nil)
		f.file = func() (Filed, error) { return Filed{Ref: "r1", State: FiledPending}, nil }
		if filed, err := g.File(t.Context(), Filing{Subject: ann}); err != nil || filed.Ref != "r1" {
			t.Errorf("File = %v, %v", filed, err)
		}
		wantCheck(t, g, ann, false, nil, 0)
		f.file = func() (Filed, error) { return Filed{Ref: "r1", State: FiledActive}, nil }
		if filed, err := g.Poll(t.Context(), "r1", ann); err != nil || filed.State != FiledActive {
			t.Errorf("Poll = %v, %v", filed, err)
		}
		wantCheck(t, g, ann, true, nil, 0) // it counts at once
		f.file = func() (Filed, error) { return Filed{}, &Error{Status: 429, RetryIn: 30 * time.Second} }
		if _, err := g.Poll(t.Context(), "r1", ann); err == nil {
			t.Error("no error")
		}
		if _, err := g.File(t.Context(), Filing{Subject: ann}); !errors.Is(err, ErrOpen) {
			t.Errorf("File = %v", err)
		}
		wantCheck(t, g, user(1), false, ErrOpen, 0)
	})
}

func TestGuardBounds(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		long := strings.Repeat("x", longestSubject)
		f.answers(Status{Active: true, Evidence: long}, nil)
		wantCheck(t, g, Subject{User: long, Role: "r"}, false, ErrSubject, 0)
		wantCheck(t, g, Subject{Role: "r"}, false, ErrSubject, 0)
		f.wantAsked(t, 0)
		status, err := g.Check(t.Context(), ann)
		if err != nil || len(status.Evidence) != longestEvidence {
			t.Errorf("Check = %d bytes of evidence, %v", len(status.Evidence), err)
		}
	})
}

func TestNewGuardRefusesNoTimeout(t *testing.T) {
	t.Parallel()
	if _, err := NewGuard(&fake{}, 0, time.Now); err == nil {
		t.Error("no error")
	}
}

func TestGuardKeptIsFree(t *testing.T) {
	f := &fake{}
	f.answers(Status{Active: true, Evidence: "e"}, nil)
	g := newGuard(t, f)
	ctx := context.Background()
	if _, err := g.Check(ctx, ann); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = g.Check(ctx, ann) }); n != 0 {
		t.Errorf("a kept answer allocates %v times", n)
	}
}

func BenchmarkGuardKept(b *testing.B) {
	f := &fake{}
	f.answers(Status{Active: true, Evidence: "e"}, nil)
	g := newGuard(b, f)
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if status, err := g.Check(ctx, ann); err != nil || !status.Active {
				b.Error(status, err)
			}
		}
	})
}
