package idempotency

import (
	"context"
	_ "embed" // for the scripts
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed claim.lua
	claimLua string
	//go:embed renew.lua
	renewLua string
	//go:embed complete.lua
	completeLua string
	//go:embed release.lua
	releaseLua string
	//go:embed abandon.lua
	abandonLua string
	//go:embed show.lua
	showLua string
	//go:embed clear.lua
	clearLua string
)

// RedisConfig says how claims are kept in Redis.
type RedisConfig struct {
	// Prefix is in front of the names of all keys, default "sallyport:claim:". It
	// has no braces: they would put all claims of a Cluster onto one node.
	Prefix string
	// Timeout is how long an operation may take, at most, default 500ms. A claim
	// that has no answer after half of it is asked for once more.
	Timeout time.Duration
	// Replicas is how many replicas must confirm a claim before it counts,
	// default 0. A failover to one of them can't lose it; with fewer than there
	// are, Redis may promote another.
	Replicas int
	// ReplicaWait is how long they may take, default a quarter of Timeout, and at
	// most that.
	ReplicaWait time.Duration
	// MaxResponse is the most bytes of one response, default 1 MiB, at most 16.
	MaxResponse int
	// Sealer encrypts responses.
	Sealer *Sealer
	// Unreadable is told of a stored response that can't be opened: its key file
	// is gone, or somebody changed it. The claim answers NotRetained. Optional.
	Unreadable func(Key, error)
}

// Redis is a Store in Redis 6.2 or newer: a single server, one that Sentinels
// guard, or a Cluster. Each claim is one key, each operation one round trip and
// one script. It keeps no state of its own.
//
// Its user needs the commands eval, evalsha, time, hset, hget, hmget, hexists,
// del, pexpire and pttl on the keys behind the prefix, wait if it waits for
// replicas, info for CheckServer, and hello and client|setinfo for the client;
// for a Cluster also command and cluster|slots.
type Redis struct {
	client redis.UniversalClient
	cfg    RedisConfig
	sealer atomic.Pointer[Sealer]

	claim, renew, complete, release, abandon, show, clear *redis.Script
}

// NewRedis returns a store that uses a client of another's making, a
// *redis.Client or *redis.ClusterClient. It doesn't connect: see CheckServer.
func NewRedis(client redis.UniversalClient, cfg RedisConfig) (*Redis, error) {
	if cfg.Prefix == "" {
		cfg.Prefix = "sallyport:claim:"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 500 * time.Millisecond
	}
	if cfg.ReplicaWait == 0 {
		cfg.ReplicaWait = cfg.Timeout / 4
	}
	setDefault(&cfg.MaxResponse, DefaultMaxResponse)
	if err := errors.Join(cfg.check(), checkClient(client)); err != nil {
		return nil, fmt.Errorf("redis store: %w", err)
	}
	r := &Redis{
		client: client, cfg: cfg,
		claim: redis.NewScript(claimLua), renew: redis.NewScript(renewLua), complete: redis.NewScript(completeLua),
		release: redis.NewScript(releaseLua), abandon: redis.NewScript(abandonLua), show: redis.NewScript(showLua),
		clear: redis.NewScript(clearLua),
	}
	r.sealer.Store(cfg.Sealer)
	return r, nil
}

func (cfg *RedisConfig) check() error {
	var errs []error
	if strings.ContainsAny(cfg.Prefix, "{}") {
		errs = append(errs, fmt.Errorf("prefix: %q has a brace", cfg.Prefix))
	}
	if cfg.Timeout < time.Millisecond {
		errs = append(errs, fmt.Errorf("timeout: %v is under 1ms", cfg.Timeout))
	}
	if cfg.Replicas < 0 {
		errs = append(errs, fmt.Errorf("replicas: %d is negative", cfg.Replicas))
	}
	if cfg.ReplicaWait < time.Millisecond || cfg.ReplicaWait > cfg.Timeout/4 {
		errs = append(errs, fmt.Errorf("replica_wait: %v is not within [1ms, timeout/4 = %v]", cfg.ReplicaWait, cfg.Timeout/4))
	}
	if cfg.MaxResponse < 0 || cfg.MaxResponse > mostMaxResponse {
		errs = append(errs, fmt.Errorf("max_response: %d is not within [0, %d]", cfg.MaxResponse, mostMaxResponse))
	}
	if cfg.Sealer == nil {
		errs = append(errs, errors.New("no key file: responses are never kept in clear"))
	}
	return errors.Join(errs...)
}

// checkClient refuses a client that would ignore deadlines, or that spreads keys
// over servers by itself and forgets claims when their number changes.
func checkClient(client redis.UniversalClient) error {
	var obeysDeadlines bool
	switch c := client.(type) {
	case *redis.Client:
		obeysDeadlines = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		obeysDeadlines = c.Options().ContextTimeoutEnabled
	default:
		return fmt.Errorf("a %T can't keep claims", client)
	}
	if !obeysDeadlines {
		return errors.New("the client ignores deadlines: set ContextTimeoutEnabled")
	}
	return nil
}

// SetSealer replaces the keys, for all operations that begin afterwards.
func (r *Redis) SetSealer(s *Sealer) { r.sealer.Store(s) }

// Claim implements Store.
func (r *Redis) Claim(ctx context.Context, c Claim) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, unavailable("claim", err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	// The first attempt may hang on a connection to a server that is gone. A
	// second one by the same owner does no harm, whatever became of the first.
	a, err := r.tryHalf(ctx, &c)
	if err != nil && !errors.Is(err, ErrNotReplicated) && ctx.Err() == nil {
		a, err = r.try(ctx, &c)
	}
	switch {
	case errors.Is(err, ErrNotReplicated):
		return Result{}, fmt.Errorf("claim: %w", err)
	case err != nil:
		return Result{}, unavailable("claim", err)
	case a.state == Replay:
		return r.replay(&c, a), nil
	case a.state == Busy:
		return Result{State: Busy, RetryIn: time.Duration(a.number) * time.Millisecond}, nil
	default:
		return Result{State: a.state, Retaken: a.state == Acquired && a.number == 1}, nil
	}
}

func (r *Redis) tryHalf(ctx context.Context, c *Claim) (answer, error) {
	deadline, _ := ctx.Deadline() // it has one
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/2)
	defer cancel()
	return r.try(ctx, c)
}

// try asks for a claim once.
func (r *Redis) try(ctx context.Context, c *Claim) (answer, error) {
	retake := "0"
	if c.Retake {
		retake = "1"
	}
	keys := []string{r.name(c.Key)}
	arguments := []any{c.Owner, c.Fingerprint[:], milliseconds(c.Lease), milliseconds(c.TTL), retake}
	if r.cfg.Replicas > 0 {
		return r.tryReplicated(ctx, c, keys, arguments)
	}
	return readAnswer(r.claim.Run(ctx, r.client, keys, arguments...).Slice())
}

// replay opens the response of a request that was executed, whatever else goes
// wrong: it must not be executed again.
func (r *Redis) replay(c *Claim, a answer) Result {
	var response *Response
	encoded, err := r.sealer.Load().open([]byte(a.sealed), c.Key, a.owner)
	if err == nil {
		response, err = decodeResponse(encoded)
	}
	if err != nil {
		if r.cfg.Unreadable != nil {
			r.cfg.Unreadable(c.Key, err)
		}
		return Result{State: NotRetained}
	}
	return Result{State: Replay, Response: response}
}

// Renew implements Store.
func (r *Redis) Renew(ctx context.Context, key Key, owner string, lease time.Duration) error {
	if err := checkLease(lease); err != nil {
		return unavailable("renew", err)
	}
	return r.owned(ctx, "renew", r.renew, key, owner, milliseconds(lease))
}

// Complete implements Store.
func (r *Redis) Complete(ctx context.Context, key Key, owner string, response *Response) error {
	sealed := []byte{}
	if encoded := encodeResponse(response, r.cfg.MaxResponse); encoded != nil {
		var err error
		if sealed, err = r.sealer.Load().seal(encoded, key, owner); err != nil {
			return unavailable("complete", err)
		}
	}
	return r.owned(ctx, "complete", r.complete, key, owner, sealed)
}

// Release implements Store.
func (r *Redis) Release(ctx context.Context, key Key, owner string) error {
	return r.owned(ctx, "release", r.release, key, owner)
}

// Abandon implements Store.
func (r *Redis) Abandon(ctx context.Context, key Key, owner string) error {
	return r.owned(ctx, "abandon", r.abandon, key, owner)
}

// owned runs a script that changes the owner's claim and answers 1, or refuses
// with 0.
func (r *Redis) owned(ctx context.Context, what string, script *redis.Script, key Key, owner string, arguments ...any) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	done, err := script.Run(ctx, r.client, []string{r.name(key)}, append([]any{owner}, arguments...)...).Int()
	if err != nil {
		return unavailable(what, err)
	}
	if done == 0 {
		return lost(what)
	}
	return nil
}

// Show implements Store.
func (r *Redis) Show(ctx context.Context, key Key) (Record, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	fields, err := r.show.Run(ctx, r.client, []string{r.name(key)}).Slice()
	if err != nil {
		return Record{}, false, unavailable("show", err)
	}
	if len(fields) == 0 {
		return Record{}, false, nil
	}
	record, err := readRecord(fields)
	if err != nil {
		return Record{}, false, unavailable("show", err)
	}
	record.Key = key
	return record, true, nil
}

// Clear implements Store.
func (r *Redis) Clear(ctx context.Context, seen Record) (bool, error) {
	err := r.owned(ctx, "clear", r.clear, seen.Key, seen.Owner, int(seen.State))
	if errors.Is(err, ErrLost) {
		return false, nil
	}
	return err == nil, err
}

func (r *Redis) name(key Key) string {
	return r.cfg.Prefix + base64.RawURLEncoding.EncodeToString(key[:])
}

// milliseconds rounds up: no lease is shorter than what was asked for.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// answer is what claim.lua says.
type answer struct {
	state  State
	number int64
	owner  string
	sealed string
}

func readAnswer(fields []any, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	f := fieldReader{fields: fields}
	a := answer{state: State(f.number()), number: f.number(), owner: f.text(), sealed: f.text()} //nolint:gosec // checked next
	if f.wrong || a.state < Acquired || a.state > Unknown {
		return answer{}, fmt.Errorf("the server's answer makes no sense: %d fields, state %d", len(fields), a.state)
	}
	return a, nil
}

func readRecord(fields []any) (Record, error) {
	f := fieldReader{fields: fields}
	record := Record{State: State(f.number()), Owner: f.text()} //nolint:gosec // checked next
	wrong := copy(record.Fingerprint[:], f.text()) != len(record.Fingerprint)
	record.Claimed, record.LeaseEnds, record.Expires = f.time(), f.time(), f.time()
	if wrong || f.wrong || record.State < Busy || record.State > Unknown {
		return Record{}, fmt.Errorf("the record makes no sense: %d fields, state %d", len(fields), record.State)
	}
	if record.State != Busy {
		record.LeaseEnds = time.Time{}
	}
	return record, nil
}

// fieldReader takes a script's answer apart. wrong says that a field was missing
// or of another type.
type fieldReader struct {
	fields []any
	wrong  bool
}

func (f *fieldReader) next() any {
	if len(f.fields) == 0 {
		f.wrong = true
		return nil
	}
	field := f.fields[0]
	f.fields = f.fields[1:]
	return field
}

func (f *fieldReader) number() int64 {
	n, ok := f.next().(int64)
	f.wrong = f.wrong || !ok
	return n
}

func (f *fieldReader) text() string {
	text, ok := f.next().(string)
	f.wrong = f.wrong || !ok
	return text
}

func (f *fieldReader) time() time.Time { return time.UnixMilli(f.number()).UTC() }
