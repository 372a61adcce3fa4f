package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuardBreaker(t *testing.T) {
	for name, cause := range map[string]error{
		"5xx": &Error{Status: 502}, "garbage": ErrAnswer, "credentials": &Error{Status: 401}, "connection": errors.New("refused"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *Guard, f *fake) {
				f.answers(Status{}, cause)
				for i := range breakerFailures {
					wantCheck(t, g, user(i), false, cause, 0)
				}
				wantCheck(t, g, ann, false, ErrOpen, 0)
				time.Sleep(breakerOpen - 1)
				wantCheck(t, g, ann, false, ErrOpen, 0)
				f.wantAsked(t, breakerFailures)
				time.Sleep(time.Nanosecond)
				wantCheck(t, g, ann, false, cause, 0) // the probe
				wantCheck(t, g, ann, false, ErrOpen, 0)
				time.Sleep(breakerOpen)
				f.answers(Status{Active: true}, nil)
				wantCheck(t, g, ann, true, nil, 0)
				f.answers(Status{}, cause)
				for i := range breakerFailures {
					wantCheck(t, g, user(i), false, cause, 0) // it is closed again
				}
			})
		})
	}
}

func TestGuardBreakerLetsOneProbeThrough(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		f.does(hang)
		wantCheck(t, g, ann, false, context.DeadlineExceeded, guardTimeout)
		wantCheck(t, g, user(7), false, context.DeadlineExceeded, guardTimeout)
		time.Sleep(breakerOpen)
		f.does(func(context.Context, Subject) (Status, error) {
			time.Sleep(time.Second)
			return Status{Active: true}, nil
		})
		var wait sync.WaitGroup
		wait.Go(func() { wantCheck(t, g, ann, true, nil, time.Second) })
		synctest.Wait()
		wantCheck(t, g, user(1), false, ErrOpen, 0)
		wait.Wait()
		wantCheck(t, g, user(1), true, nil, time.Second)
	})
}

// A user whose questions alone fail shuts out nobody else, and waits.
func TestGuardOneUserAlone(t *testing.T) {
	for name, failure := range map[string]func(context.Context, Subject) (Status, error){
		"fails": func(context.Context, Subject) (Status, error) { return Status{}, &Error{Status: 500} },
		"hangs": hang,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *Guard, f *fake) {
				f.does(func(ctx context.Context, who Subject) (Status, error) {
					if who == ann {
						return failure(ctx, who)
					}
					return Status{Active: true}, nil
				})
				for range 2 * breakerFailures {
					_, _ = g.Check(t.Context(), ann)
				}
				if _, err := g.Check(t.Context(), ann); !errors.Is(err, ErrOpen) {
					t.Errorf("the one who fails: %v", err)
				}
				if _, err := g.Check(t.Context(), Subject{User: ann.User, Role: "another"}); !errors.Is(err, ErrOpen) {
					t.Errorf("the same user with another role: %v", err)
				}
				for i := range 3 {
					wantCheck(t, g, user(i), true, nil, 0)
				}
				if g.Counts().Open {
					t.Error("it is open for everybody")
				}
				time.Sleep(breakerOpen)
				f.answers(Status{Active: true}, nil)
				wantCheck(t, g, ann, true, nil, 0)
			})
		})
	}
}

func TestGuardSuccessStartsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		for i := range 3 * breakerFailures {
			f.answers(Status{}, ErrAnswer)
			if i%breakerFailures == breakerFailures-1 {
				f.answers(Status{}, nil)
			}
			if _, err := g.Check(t.Context(), user(i)); errors.Is(err, ErrOpen) {
				t.Fatalf("open after %d", i)
			}
		}
	})
}

// Who can make questions about oneself fail can't keep others out, and can't make up
// for failures.
func TestGuardErrorsAboutOneSubject(t *testing.T) {
	bubble(t, func(t *testing.T, g *Guard, f *fake) {
		for _, cause := range []error{ErrSubject, &Error{Status: 404}, &Error{Status: 400}, ErrUnsupported} {
			f.answers(Status{}, cause)
			for i := range 3 * breakerFailures {
				wantCheck(t, g, user(i), false, cause, 0)
			}
		}
		for i := range breakerFailures {
			f.answers(Status{}, ErrSubject)
			wantCheck(t, g, ann, false, ErrSubject, 0)
			failure := &Error{Status: 500}
			f.answers(Status{}, failure)
			wantCheck(t, g, user(i), false, failure, 0)
		}
		wantCheck(t, g, ann, false, ErrOpen, 0)
	})
}

func TestGuardThrottled(t *testing.T) {
	for name, c := range map[string]struct {
		answer Error
		open   time.Duration
	}{
		"said":     {Error{Status: 429, RetryIn: 20 * time.Second}, 20 * time.Second},
		"too long": {Error{Status: 429, RetryIn: time.Hour}, breakerLongest},
		"unsaid":   {Error{Status: 429}, breakerOpen},
		"503":      {Error{Status: 503, RetryIn: 3 * time.Second}, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *Guard, f *fake) {
				f.answers(Status{}, fmt.Errorf("wrapped: %w", &c.answer))
				wantCheck(t, g, ann, false, &c.answer, 0)
				f.answers(Status{Active: true}, nil)
				wantCheck(t, g, user(1), false, ErrOpen, 0)
				time.Sleep(c.open - 1)
				wantCheck(t, g, ann, false, ErrOpen, 0)
				time.Sleep(time.Nanosecond)
				wantCheck(t, g, ann, true, nil, 0)
				f.wantAsked(t, 2)
			})
		})
	}
}
