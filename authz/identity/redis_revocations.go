package identity

import (
	"bytes"
	"context"
	_ "embed" // for the scripts
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed redis_revocations_append.lua
	appendLua string
	//go:embed redis_revocations_read.lua
	readLua string
)

// Revocation is one entry of a feed. It means what an entry of a file does, see
// RevocationList.ReloadFile.
type Revocation struct {
	Issuer       string    `json:"issuer"`                 // its configured name
	Kind         string    `json:"kind"`                   // token_id, subject, client or session
	Value        string    `json:"value"`                  // at most 1024 bytes
	IssuedBefore time.Time `json:"issued_before,omitzero"` // later tokens are good; zero: none is
	Until        time.Time `json:"until,omitzero"`         // no longer revoked from then on; zero: for good
}

// Validate reports everything that is wrong with the entry.
func (r *Revocation) Validate() error {
	var errs []error
	if !namePattern.MatchString(r.Issuer) {
		errs = append(errs, fmt.Errorf("issuer: %.60q is not the configured name of one", r.Issuer))
	}
	if kinds := []string{revokedTokenID, revokedSubject, revokedClient, revokedSession}; !slices.Contains(kinds, r.Kind) {
		errs = append(errs, fmt.Errorf("kind: %.60q is not one of %v", r.Kind, kinds))
	}
	if r.Value == "" || len(r.Value) > maxRevokedBytes || !utf8.ValidString(r.Value) {
		errs = append(errs, fmt.Errorf("value: it must be text of 1 to %d bytes", maxRevokedBytes))
	}
	return errors.Join(errs...)
}

func (r *Revocation) key() revoked { return revoked{issuer: r.Issuer, kind: r.Kind, value: r.Value} }

// id names the entry in Redis.
func (r *Revocation) id() string {
	sum := replayKey(r.Issuer, r.Kind, r.Value)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// parseRevocation reads an entry as Append wrote it. What it doesn't understand,
// perhaps a newer version's, is an error: it must not be taken for nothing.
func parseRevocation(text string) (r Revocation, err error) {
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return r, fmt.Errorf("revocation: %w", err)
	}
	if err := r.Validate(); err != nil {
		return r, fmt.Errorf("revocation: %w", err)
	}
	return r, nil
}

// endedKept is how long a revocation stays in the feed after its end, for those
// who read it late.
const endedKept = time.Hour

// RedisRevocations is a feed of revocations for all replicas: a sequence that
// only grows at its end, and of which the followers read what is new. Entries
// that have ended leave it. Redis should keep it in an append-only file: what it
// loses, followers that have read it go on to refuse, and later ones don't.
type RedisRevocations struct {
	client         redis.UniversalClient
	cfg            RedisConfig
	append, read   *redis.Script
	order, entries string // keys; see redis_revocations_append.lua
	ends, last     string
	channel        string // says that there is something new
}

// NewRedisRevocations uses a client of another's making, a *redis.Client or
// *redis.ClusterClient with ContextTimeoutEnabled. It doesn't connect.
func NewRedisRevocations(client redis.UniversalClient, cfg RedisConfig) (*RedisRevocations, error) {
	if err := cfg.Ready(client); err != nil {
		return nil, fmt.Errorf("redis revocations: %w", err)
	}
	tagged := cfg.Prefix + "{revocations}:" // one script uses all of them, so one node must have them
	return &RedisRevocations{
		client: client, cfg: cfg, append: redis.NewScript(appendLua), read: redis.NewScript(readLua),
		order: tagged + "order", entries: tagged + "entries", ends: tagged + "ends", last: tagged + "last",
		channel: cfg.Prefix + "revocations",
	}, nil
}

// Append puts an entry at the end of the feed, in place of an earlier one for the
// same value: the last one counts, so one that has ended takes it back. Once it
// returns nil, each replica either knows the entry within a second or refuses
// everybody within two. After an error the entry may be there or not; it can be
// appended again. A feed holds at most 50000 values, so give each its end, where
// it has one: a token_id is no use after its token has expired.
func (r *RedisRevocations) Append(ctx context.Context, entry Revocation) error {
	if err := entry.Validate(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	text, err := json.Marshal(entry)
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	until := ""
	if !entry.Until.IsZero() {
		until = strconv.FormatInt(entry.Until.UnixMilli(), 10)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	added, err := r.append.Run(ctx, r.client, []string{r.order, r.entries, r.ends, r.last},
		entry.id(), text, until, endedKept.Milliseconds(), maxRevocations).Int()
	switch {
	case err != nil:
		return fmt.Errorf("revoke in redis: %w", err)
	case added == 0:
		return fmt.Errorf("revoke: there are %d revocations already", maxRevocations)
	}
	// Only a wake-up: without it the followers' next poll finds the entry.
	_ = r.client.Publish(ctx, r.channel, "").Err()
	return nil
}

// revocationPage is a part of the feed.
type revocationPage struct {
	last    int64 // number of the feed's last entry; 0: it never had one
	upTo    int64 // all entries up to this number are read
	entries []string
}

// pageSize is how many entries are read at once, at most.
const pageSize = 1000

// page reads what follows a number.
func (r *RedisRevocations) page(ctx context.Context, after int64) (p revocationPage, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	answer, err := r.read.Run(ctx, r.client, []string{r.order, r.entries, r.last}, after, pageSize).StringSlice()
	if err == nil && len(answer) < 2 {
		err = fmt.Errorf("an answer of %d parts", len(answer))
	}
	if err == nil {
		p.last, err = strconv.ParseInt(answer[0], 10, 64)
	}
	if err == nil {
		p.upTo, err = strconv.ParseInt(answer[1], 10, 64)
	}
	if err != nil {
		return p, fmt.Errorf("read revocations from redis: %w", err)
	}
	p.entries = answer[2:]
	return p, nil
}
