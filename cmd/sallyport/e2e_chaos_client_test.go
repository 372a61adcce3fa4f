package main_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/authz/refusal"
	"github.com/sallyport/sallyport/internal/devissuer"
)

// told is what an answer says about the effect of its key.
type told uint8

const (
	nothing told = iota // come again
	succeeded
	declined // there was none, and won't be
	unknown
	nonsense // must not happen
)

// reading is an answer, read.
type reading struct {
	told
	effect string // its name, if it succeeded
	label  string // for the count of answers
}

// keyed is what a client knows about one of its keys.
type keyed struct {
	name    string
	mcp     bool
	effects []string      // that it was told of, each once
	heard   map[told]bool // whatever it was told
	dropped bool          // it went away from an attempt, on purpose or because it took too long
	final   told          // what it was told at the very end
	last    string        // the label of that
}

// caller is a client that retries as real ones do.
type caller struct {
	run    *chaosRun
	name   string
	http   *http.Client
	random *rand.Rand // of its own goroutine
	keys   []*keyed
}

// work takes one key after the other until ctx ends.
func (c *caller) work(ctx context.Context) {
	for ctx.Err() == nil {
		k := &keyed{name: fmt.Sprintf("%s-%d", c.name, len(c.keys)), mcp: c.random.IntN(2) == 0, heard: make(map[told]bool)}
		c.keys = append(c.keys, k)
		c.insist(ctx, k, 8*time.Second)
		if c.random.IntN(4) == 0 { // it has forgotten that it knows
			c.insist(ctx, c.keys[c.random.IntN(len(c.keys))], time.Second)
		}
		linger(ctx, c.between(10, 150))
	}
}

// insist retries until there is a definite answer or the client's patience ends.
func (c *caller) insist(ctx context.Context, k *keyed, patience time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for backoff := 50; ctx.Err() == nil; backoff = min(2*backoff, 800) {
		if c.attempt(ctx, k) != nothing {
			return
		}
		linger(ctx, c.between(backoff/2, backoff*3/2))
	}
}

// attempt sends the request: mostly once, sometimes twice at the same time.
func (c *caller) attempt(ctx context.Context, k *keyed) told {
	timeout, requests := time.Second, make([]request, 1)
	switch n := c.random.IntN(100); {
	case c.run.upstream.calm.Load(): // the last question
		timeout = 10 * time.Second
	case n < 8:
		timeout = c.between(1, 40) // goes away on purpose
	case n < 20:
		timeout = 6 * time.Second
	case n < 30:
		requests = make([]request, 2)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	readings := make([]reading, len(requests))
	var sent sync.WaitGroup
	for i := range requests {
		id := c.random.IntN(1_000_000)
		sent.Go(func() { readings[i] = c.ask(ctx, k, id) })
	}
	sent.Wait()
	if ctx.Err() != nil {
		k.dropped = true
	}
	answer := readings[0]
	for _, r := range readings {
		k.note(r)
		c.run.count(r.label)
		if answer.told == nothing {
			answer = r
		}
	}
	k.final, k.last = answer.told, answer.label
	return answer.told
}

func (k *keyed) note(r reading) {
	k.heard[r.told] = true
	if r.told == succeeded && !slices.Contains(k.effects, r.effect) {
		k.effects = append(k.effects, r.effect)
	}
}

func (c *caller) between(low, high int) time.Duration {
	return time.Duration(low+c.random.IntN(high-low+1)) * time.Millisecond
}

// ask is one exchange.
func (c *caller) ask(ctx context.Context, k *keyed, id int) reading {
	token, err := c.run.issuer.Mint(devissuer.TokenOptions{Subject: c.name, Audience: []string{"chaos"}})
	if err != nil {
		return reading{nonsense, "", err.Error()}
	}
	r := rest(token, "POST", "/orders", `{"item":1}`)
	if k.mcp {
		r = withID(callTool(token, "book", `{"item":1}`), fmt.Sprint(id))
	}
	r.client = c.http
	a, err := c.run.try(ctx, r.with("Idempotency-Key", k.name))
	switch {
	case err != nil && ctx.Err() != nil:
		return reading{nothing, "", "client went away"}
	case err != nil:
		return reading{nothing, "", "connection failed or answer cut"}
	}
	return read(a, id)
}

// read says what an answer means to a client that wants to know whether to retry.
func read(a answer, id int) reading {
	var body struct {
		facts
		Effect   string `json:"effect"`
		Declined bool   `json:"declined"`
		ID       *int   `json:"id"`
		Error    struct {
			Message string `json:"message"`
			Data    facts  `json:"data"`
		} `json:"error"`
		Result struct {
			Meta   map[string]facts `json:"_meta"`
			Result struct {
				Effect string `json:"effect"`
			} `json:"structuredContent"`
		} `json:"result"`
	}
	_ = json.Unmarshal([]byte(a.json()), &body) // what is no JSON has no reason and no effect
	effect := cmp.Or(body.Effect, body.Result.Result.Effect)
	reason := cmp.Or(body.Reason, body.Error.Data.Reason, body.Result.Meta[refusal.FactsKey].Reason)
	replayed := ""
	if a.header.Get("Idempotent-Replayed") == "true" {
		replayed = ", replayed"
	}
	switch {
	case body.ID != nil && *body.ID != id:
		return reading{nonsense, "", fmt.Sprintf("the answer to %d has id %d", id, *body.ID)}
	case a.status == http.StatusOK && effect != "":
		return reading{succeeded, effect, "success" + replayed}
	case body.Declined || body.Error.Message == "declined":
		return reading{declined, "", "declined" + replayed}
	case reason == "idempotency.outcome_unknown":
		return reading{unknown, "", reason}
	case reason == "idempotency.in_flight", reason == "concurrency.exceeded", strings.HasSuffix(reason, "unavailable"):
		return reading{nothing, "", reason}
	case reason == "" && (a.status == http.StatusTooManyRequests || a.status >= 500):
		return reading{nothing, "", fmt.Sprint("status ", a.status)}
	}
	return reading{nonsense, "", fmt.Sprintf("status %d: %.200s", a.status, a.body)}
}
