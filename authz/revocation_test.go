package authz_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/testenv"
)

// TestRevocationFeed: what the feed says is refused, and so is everybody while it
// can't be known.
func TestRevocationFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.token(t, "mcp vehicles.read")
	decide := func(want string) {
		t.Helper()
		d := w.Decide(t.Context(), call(token, "search_vehicles", "{}"))
		if d.Reason.Code != want {
			t.Errorf("%s (%s), want %s", d.Reason.Code, d.Detail, want)
		}
		if got := w.journal.last(t)["reason"]; got != want {
			t.Errorf("recorded %v, want %s", got, want)
		}
	}
	decide("allowed")
	feed, err := identity.NewRedisRevocations(connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})), redisConfig())
	if err != nil {
		t.Fatal(err)
	}
	follower := feed.Follow(w.config.Revocations, slog.New(slog.DiscardHandler))
	decide("revocation.unavailable")
	if err := follower.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	decide("allowed")
	d := w.Decide(t.Context(), call(token, "search_vehicles", "{}"))
	entry := identity.Revocation{Issuer: "dev", Kind: "subject", Value: d.Principal.Subject, Until: time.Now().Add(time.Hour)}
	if err := feed.Append(t.Context(), entry); err != nil {
		t.Fatal(err)
	}
	if err := follower.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	decide("revocation.revoked")
}
