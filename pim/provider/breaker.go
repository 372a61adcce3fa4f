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

// breaker stops questions to a provider that fails. The guard's mutex guards it.
type breaker struct {
	failures int
	answered time.Time // last time that the provider answered
	until    time.Time // open until then, and a probe after it; zero: closed
	probing  bool
	refusal  error // ErrOpen with what made it open
}

// refuses returns why nothing may be asked now, or nil.
func (b *breaker) refuses(now time.Time) error {
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

// after takes the outcome of a question that was asked at a time.
func (b *breaker) after(asked, now time.Time, probe bool, err error) {
	if probe {
		b.probing = false
	}
	switch throttled := throttle(err); {
	case throttled > 0:
		b.open(now, throttled, err)
	case !failing(err):
		b.succeed(now, probe, err)
	case probe:
		b.open(now, breakerOpen, err)
	case b.until.IsZero():
		b.fail(asked, now, err)
	}
}

// succeed closes it if this was the probe. An error about one subject shows that the
// provider is there, but doesn't make up for failures.
func (b *breaker) succeed(now time.Time, probe bool, err error) {
	if probe {
		b.until, b.failures = time.Time{}, 0
	}
	if err == nil {
		b.failures, b.answered = 0, now
	}
}

// fail counts a failure. A whole deadline in which the provider answered nobody is
// enough to open at once: else each of the next callers would wait for it, too.
func (b *breaker) fail(asked, now time.Time, err error) {
	b.failures++
	hung := errors.Is(err, context.DeadlineExceeded) && b.answered.Before(asked)
	if hung || b.failures >= breakerFailures {
		b.open(now, breakerOpen, err)
	}
}

func (b *breaker) open(now time.Time, wait time.Duration, err error) {
	if until := now.Add(wait); until.After(b.until) {
		b.until = until
	}
	// The text only: a refusal isn't another answer of the provider.
	b.refusal = fmt.Errorf("%w: %s", ErrOpen, err.Error())
}

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

// failing reports whether an error is about the provider and not about one subject:
// who can make questions fail mustn't be able to close it for everybody.
func failing(err error) bool {
	if err == nil || errors.Is(err, ErrSubject) || errors.Is(err, ErrUnsupported) {
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
