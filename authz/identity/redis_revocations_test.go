package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/internal/testenv"
)

var quiet = slog.New(slog.DiscardHandler)

func newFeed(t testing.TB, client redis.UniversalClient, timeout time.Duration) *identity.RedisRevocations {
	t.Helper()
	feed, err := identity.NewRedisRevocations(client, identity.RedisConfig{Prefix: "app:", Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return feed
}

// replica is a list that follows a feed.
type replica struct {
	*identity.RevocationList
	*identity.RevocationFollower
}

func newReplica(feed *identity.RedisRevocations, now func() time.Time, log *slog.Logger) *replica {
	list := identity.NewRevocationList(now)
	return &replica{list, feed.Follow(list, log)}
}

func (r *replica) refresh(t *testing.T) {
	t.Helper()
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// run runs the follower until the test ends.
func (r *replica) run(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// cause is why somebody is refused.
func (r *replica) cause(kind, value string) string {
	p := &identity.Principal{Issuer: "corp", IssuedAt: noon()}
	switch kind {
	case "token_id":
		p.TokenID = value
	case "subject":
		p.Subject = value
	case "client":
		p.Client = value
	case "session":
		p.SessionID = value
	}
	cause, _ := r.Revoked(p)
	return cause
}

func appendAll(t *testing.T, feed *identity.RedisRevocations, entries ...identity.Revocation) {
	t.Helper()
	for _, entry := range entries {
		if err := feed.Append(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
}

func subject(value string) identity.Revocation {
	return identity.Revocation{Issuer: "corp", Kind: "subject", Value: value}
}

func testRevocations(t *testing.T, feed *identity.RedisRevocations) {
	t.Helper()
	early, late := newReplica(feed, time.Now, quiet), newReplica(feed, time.Now, quiet)
	early.refresh(t)
	if err := early.ReloadFile(writeList(t, listYAML)); err != nil {
		t.Fatal(err)
	}
	carol := subject("carol")
	carol.IssuedBefore = noon() // so it isn't hers
	dave, erin := subject("dave"), subject("erin")
	dave.Until, erin.Until = time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	appendAll(t, feed,
		identity.Revocation{Issuer: "corp", Kind: "token_id", Value: "t2"},
		identity.Revocation{Issuer: "corp", Kind: "client", Value: "ü\n"},
		identity.Revocation{Issuer: "corp", Kind: "session", Value: "s2"},
		identity.Revocation{Issuer: "other", Kind: "session", Value: "s3"},
		subject("bob"), carol, dave, erin)
	want := map[[2]string]string{
		{"token_id", "t1"}: "revoked", // by the file
		{"token_id", "t2"}: "revoked",
		{"client", "ü\n"}:  "revoked",
		{"session", "s2"}:  "revoked",
		{"session", "s3"}:  "",
		{"client", "t2"}:   "",
		{"subject", "bob"}: "revoked", {"subject", "carol"}: "", {"subject", "dave"}: "", {"subject", "erin"}: "revoked",
	}
	check := func(r *replica) {
		t.Helper()
		r.refresh(t)
		got := make(map[[2]string]string)
		for who := range want {
			got[who] = r.cause(who[0], who[1])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check(early)
	// The last entry for a value counts: bob is good again, dave no more.
	bob := subject("bob")
	bob.Until = time.Now().Add(-time.Minute)
	appendAll(t, feed, bob, subject("dave"))
	want[[2]string{"subject", "bob"}], want[[2]string{"subject", "dave"}] = "", "revoked"
	check(early)
	early.Use(nil) // forgets the file alone
	want[[2]string{"token_id", "t1"}] = ""
	check(early)
	check(late)
}

func TestRevocationValidate(t *testing.T) {
	t.Parallel()
	feed := newFeed(t, redis.NewClient(&redis.Options{ContextTimeoutEnabled: true}), 0)
	for _, tc := range []struct {
		name  string
		entry identity.Revocation
		want  []string
	}{
		{"empty", identity.Revocation{}, []string{"issuer:", "kind:", "value:"}},
		{"an issuer's URL", identity.Revocation{Issuer: "https://a.example", Kind: "subject", Value: "s"}, []string{"issuer:"}},
		{"another kind", identity.Revocation{Issuer: "corp", Kind: "jti", Value: "s"}, []string{"kind:"}},
		{"long", subject(strings.Repeat("s", 1025)), []string{"value:"}},
		{"not UTF-8", subject("\xff"), []string{"value:"}},
		{"a year that JSON doesn't have", identity.Revocation{Issuer: "corp", Kind: "subject", Value: "s", Until: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}, []string{"year"}},
	} {
		err := feed.Append(t.Context(), tc.entry)
		for _, want := range tc.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", tc.name, err, want)
			}
		}
	}
}

// A feed of more than one page is read in full, by a replica that starts late.
func TestRedisRevocationsPages(t *testing.T) {
	t.Parallel()
	feed := newFeed(t, connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})), redisTimeout)
	const n = 2500
	for i := range n {
		appendAll(t, feed, subject(fmt.Sprint(i)))
	}
	appendAll(t, feed, subject("17")) // moves to the end
	r := newReplica(feed, time.Now, quiet)
	r.refresh(t)
	for i := range n {
		if r.cause("subject", fmt.Sprint(i)) != "revoked" {
			t.Fatalf("%d of %d is missing", i, n)
		}
	}
	if cause := r.cause("subject", fmt.Sprint(n)); cause != "" {
		t.Error("somebody else is refused:", cause)
	}
}

// What has ended leaves the feed after an hour; a full one takes no new value.
func TestRedisRevocationsBounds(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	feed := newFeed(t, client, redisTimeout)
	sizes := func() (sizes []int64) {
		for _, key := range []string{"order", "ends"} {
			sizes = append(sizes, client.ZCard(t.Context(), "app:{revocations}:"+key).Val())
		}
		return append(sizes, client.HLen(t.Context(), "app:{revocations}:entries").Val())
	}
	long, short, open := subject("long"), subject("short"), subject("open")
	long.Until, short.Until = time.Now().Add(-time.Hour-time.Second), time.Now().Add(-time.Hour+time.Minute)
	appendAll(t, feed, long, short, open)
	if diff := cmp.Diff([]int64{2, 1, 2}, sizes()); diff != "" {
		t.Error("order, ends, entries:", diff)
	}
	short.Until = time.Time{}
	appendAll(t, feed, short)
	if diff := cmp.Diff([]int64{2, 0, 2}, sizes()); diff != "" {
		t.Error("order, ends, entries:", diff)
	}
	const fill = `for i = 1, ARGV[1] do redis.call('ZADD', KEYS[1], i, 'filler ' .. i) end`
	if err := client.Eval(t.Context(), fill, []string{"app:{revocations}:order"}, 50_000-2).Err(); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	if err := feed.Append(t.Context(), subject("one more")); err == nil || !strings.Contains(err.Error(), "50000") {
		t.Errorf("a full feed: %v", err)
	}
	appendAll(t, feed, open) // is there already
}

// All replicas refuse within a second: woken, or where they may not subscribe, by
// their poll.
func TestRedisRevocationsWithinASecond(t *testing.T) {
	t.Parallel()
	for name, channels := range map[string]string{"woken": "&app:*", "polled": "resetchannels"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true, User: "app", Password: "secret", ACL: channels + " ~app:* +@all"})
			login := func(o *redis.Options) { o.Username, o.Password = "app", "secret" }
			var replicas []*replica
			for range 3 {
				r := newReplica(newFeed(t, connect(t, server, login), redisTimeout), time.Now, quiet)
				r.run(t)
				eventually(t, 5*time.Second, "ready", func() bool { return r.cause("subject", "s") == "" })
				replicas = append(replicas, r)
			}
			feed := newFeed(t, connect(t, server, login), redisTimeout)
			fastest := time.Minute
			for _, s := range []string{"a", "b", "c"} {
				appendAll(t, feed, subject(s))
				appended := time.Now()
				for _, r := range replicas {
					eventually(t, 5*time.Second, "revoked", func() bool { return r.cause("subject", s) == "revoked" })
				}
				took := time.Since(appended)
				if took > time.Second {
					t.Errorf("known everywhere after %v", took)
				}
				fastest = min(fastest, took)
			}
			if name == "woken" && fastest > 100*time.Millisecond { // three polls are hardly ever that quick
				t.Errorf("known everywhere after %v at best: nobody was woken", fastest)
			}
		})
	}
}

// A feed that wasn't read for two seconds refuses everybody, until it is read.
func TestRedisRevocationsStale(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})
	feed := newFeed(t, connect(t, server), redisTimeout)
	appendAll(t, feed, subject("bob"))
	c := newClock()
	r := newReplica(feed, c.now, quiet)
	check := func(when, alice, bob string) {
		t.Helper()
		if got := [2]string{r.cause("subject", "alice"), r.cause("subject", "bob")}; got != [2]string{alice, bob} {
			t.Errorf("%s: alice %q, bob %q", when, got[0], got[1])
		}
	}
	check("before the first read", identity.RevocationsStale, identity.RevocationsStale)
	r.refresh(t)
	check("after it", "", identity.TokenRevoked)
	c.advance(2*time.Second - 1)
	check("after almost two seconds", "", identity.TokenRevoked)
	c.advance(1)
	check("after two seconds", identity.RevocationsStale, identity.TokenRevoked)
	r.refresh(t)
	check("read again", "", identity.TokenRevoked)
	plain := &replica{RevocationList: identity.NewRevocationList(c.now)}
	if cause := plain.cause("subject", "alice"); cause != "" {
		t.Errorf("without a feed: %s", cause)
	}
}

// Redis is away at the start, hangs later, and each time comes back by itself.
func TestRedisRevocationsAway(t *testing.T) {
	t.Parallel()
	server := testenv.RedisFor(t, testenv.RedisOptions{AOF: "always"})
	feed := newFeed(t, connect(t, server), 300*time.Millisecond)
	appendAll(t, feed, subject("bob"))
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	c, log := newClock(), &logBook{}
	r := newReplica(feed, c.now, log.logger())
	const away, back = "the feed of revocations can't be read; requests are refused until it can", "the feed of revocations is read again"
	r.run(t)
	eventually(t, 5*time.Second, "said that it is away", func() bool { return log.count(away) == 1 })
	if cause := r.cause("subject", "alice"); cause != identity.RevocationsStale {
		t.Errorf("Redis away at the start: %q", cause)
	}
	if err := feed.Append(t.Context(), subject("carol")); err == nil {
		t.Error("appended to nowhere")
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := func() bool {
		return r.cause("subject", "alice") == "" && r.cause("subject", "bob") == identity.TokenRevoked
	}
	eventually(t, 10*time.Second, "read after the restart", good)
	eventually(t, time.Second, "said so", func() bool { return log.count(back) == 1 })

	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "said that it hangs", func() bool { return log.count(away) == 2 })
	c.advance(2 * time.Second)
	if cause := r.cause("subject", "alice"); cause != identity.RevocationsStale {
		t.Errorf("Redis hangs: %q", cause)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "read after the pause", good)
	appendAll(t, feed, subject("dave")) // and woken as before
	eventually(t, 5*time.Second, "woken again", func() bool { return r.cause("subject", "dave") == identity.TokenRevoked })
}

// What Redis loses, a replica that knows it goes on to refuse; and it sees what
// comes afterwards, whether Redis forgot everything or only the last part.
func TestRedisRevocationsLost(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	feed := newFeed(t, client, redisTimeout)
	log := &logBook{}
	r := newReplica(feed, time.Now, log.logger())
	appendAll(t, feed, subject("old"))
	keep := client.Get(t.Context(), "app:{revocations}:last").Val()
	appendAll(t, feed, subject("lost"))
	r.refresh(t)

	// A replica of Redis that lacked the last entry has taken over, and got another
	// one before it was read.
	lost := client.ZRange(t.Context(), "app:{revocations}:order", -1, -1).Val()[0]
	client.ZRem(t.Context(), "app:{revocations}:order", lost)
	client.HDel(t.Context(), "app:{revocations}:entries", lost)
	client.Set(t.Context(), "app:{revocations}:last", keep, 0)
	appendAll(t, feed, subject("new"))
	r.refresh(t)
	want := func(subjects ...string) {
		t.Helper()
		for _, s := range subjects {
			if r.cause("subject", s) != identity.TokenRevoked {
				t.Errorf("%s is no longer refused", s)
			}
		}
	}
	want("old", "lost", "new")

	client.FlushAll(t.Context())
	r.refresh(t)
	want("old", "lost", "new")
	if n := log.count("redis lost revocations that it had; this replica keeps them, a new one won't know them"); n != 1 {
		t.Errorf("said %d times", n)
	}
	appendAll(t, feed, subject("newer"))
	r.refresh(t)
	want("old", "lost", "new", "newer")

	// The clock of the server that took over is behind.
	client.FlushAll(t.Context())
	appendAll(t, feed, subject("behind"))
	id := client.HKeys(t.Context(), "app:{revocations}:entries").Val()[0]
	client.ZAdd(t.Context(), "app:{revocations}:order", redis.Z{Score: 5, Member: id})
	client.Set(t.Context(), "app:{revocations}:last", 5, 0)
	r.refresh(t)
	want("newer", "behind")
}

// An entry that can't be understood must not be taken for nothing.
func TestRedisRevocationsStrange(t *testing.T) {
	t.Parallel()
	client := connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true}))
	feed := newFeed(t, client, redisTimeout)
	good, err := json.Marshal(subject("bob"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "x", "[]", `{"issuer":"corp","kind":"subject"}`, `{"issuer":"corp","kind":"device","value":"v"}`,
		strings.Replace(string(good), "{", `{"only":"admin",`, 1), strings.Replace(string(good), "}", `,"until":"soon"}`, 1),
	} {
		client.FlushAll(t.Context())
		appendAll(t, feed, subject("bob"))
		id := client.HKeys(t.Context(), "app:{revocations}:entries").Val()[0]
		client.HSet(t.Context(), "app:{revocations}:entries", id, text)
		r := newReplica(feed, time.Now, quiet)
		if err := r.Refresh(t.Context()); err == nil {
			t.Errorf("%s: no error", text)
		}
		if cause := r.cause("subject", "alice"); cause != identity.RevocationsStale {
			t.Errorf("%s: %q", text, cause)
		}
	}
	client.FlushAll(t.Context())
	appendAll(t, feed, subject("bob"))
	client.Del(t.Context(), "app:{revocations}:entries")
	if err := newReplica(feed, time.Now, quiet).Refresh(t.Context()); err == nil {
		t.Error("a missing entry: no error")
	}
}

func TestRevokedWithAFeedAllocatesNothing(t *testing.T) {
	feed := newFeed(t, connect(t, testenv.RedisFor(t, testenv.RedisOptions{UnixSocket: true})), redisTimeout)
	appendAll(t, feed, subject("bob"))
	r := newReplica(feed, time.Now, quiet)
	r.refresh(t)
	p := &identity.Principal{Issuer: "corp", Subject: "alice", Client: "c", TokenID: "t1", SessionID: "s1"}
	if n := testing.AllocsPerRun(100, func() { r.Revoked(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
