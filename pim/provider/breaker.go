package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	breakerFailures = 5                // in a row
	breakerOpen     = 10 * time.Second // then one question is let through
	breakerLongest  = time.Minute      // of what a provider asks for with Retry-After
)

// breaker stops questions to a provider that fails. One user whose questions fail is
// held back alone: nobody must be able to shut out the others. The guard's mutex
// guards it.
type breaker struct {
	failures int
	users    map[string]bool // whose questions they were, as far as it matters
	alone    string          // the user who is held back
	aloneFor time.Time       // until then
	answered time.Time       // last time that the provider answered
	until    time.Time       // open until then, and a probe after it; zero: closed
	probing  bool
	refusal  error // ErrOpen with what made it open
}

// refuses returns why nothing may be asked about a user now, or nil.
func (b *breaker) refuses(now time.Time, user string) error {
	if user == b.alone && now.Before(b.aloneFor) {
		return b.refusal
	}
	if b.until.IsZero() || !b.probing && !now.Before(b.until) {
		return nil
	}
	return b.refusal
}

// admit is called for each question that refuses lets through. It reports whether
// this one is the probe.
func (b *breaker) admit() (probe bool) {
	b.probing = !b.until.IsZero()
	return b.probing
}

// after takes the outcome of a question about a user that was asked at a time.
func (b *breaker) after(user string, asked, now time.Time, probe bool, err error) {
	if probe {
		b.probing = false
	}
	switch throttled := throttle(err); {
	case throttled > 0:
		b.open(now, throttled, err)
	case !Failing(err):
		b.succeed(now, probe, err)
	case probe:
		b.open(now, breakerOpen, err)
	case b.until.IsZero():
		b.fail(user, asked, now, err)
	}
}

// succeed closes it if this was the probe. An error about one subject shows that the
// provider is there, but doesn't make up for failures.
func (b *breaker) succeed(now time.Time, probe bool, err error) {
	if probe {
		b.until, b.failures, b.users = time.Time{}, 0, nil
	}
	if err == nil {
		b.failures, b.users, b.answered = 0, nil, now
	}
}

// fail counts a failure. A whole deadline in which the provider answered nobody is
// enough: else each of the next callers would wait for it, too.
func (b *breaker) fail(user string, asked, now time.Time, err error) {
	b.failures++
	if len(b.users) < 2 {
		if b.users == nil {
			b.users = make(map[string]bool)
		}
		b.users[user] = true
	}
	hung := errors.Is(err, context.DeadlineExceeded) && b.answered.Before(asked)
	switch {
	case !hung && b.failures < breakerFailures:
	case len(b.users) < 2:
		b.alone, b.aloneFor = user, now.Add(breakerOpen)
		b.refuse(err)
	default:
		b.open(now, breakerOpen, err)
	}
}

func (b *breaker) open(now time.Time, wait time.Duration, err error) {
	if until := now.Add(wait); until.After(b.until) {
		b.until = until
	}
	b.refuse(err)
}

// refuse keeps the text only: a refusal isn't another answer of the provider.
func (b *breaker) refuse(err error) { b.refusal = fmt.Errorf("%w: %s", ErrOpen, err.Error()) }

// throttle is for how long a provider asks to be left alone; zero: it doesn't.
func throttle(err error) time.Duration {
	var answer *Error
	switch {
	case !errors.As(err, &answer):
		return 0
	case answer.Status == http.StatusTooManyRequests && answer.RetryIn <= 0:
		return breakerOpen
	case answer.Status == http.StatusTooManyRequests || answer.Status == http.StatusServiceUnavailable:
		return min(answer.RetryIn, breakerLongest)
	}
	return 0
}

// Failing reports whether an error says that the provider fails, and not something
// about one subject or about how much is asked: who can make questions fail mustn't be
// able to close it for everybody, nor to go around it.
func Failing(err error) bool {
	if err == nil || errors.Is(err, ErrSubject) || errors.Is(err, ErrUnsupported) || errors.Is(err, ErrBusy) {
		return false
	}
	var answer *Error
	if !errors.As(err, &answer) || answer.Status < 400 || answer.Status >= 500 {
		return true
	}
	switch answer.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestTimeout:
		return true // our credentials, not the subject
	}
	return false
}
