package main_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	chaosTime = flag.Duration("chaos", 30*time.Second, "how long TestChaos injects faults, over all its scenarios")
	chaosSeed = flag.Uint64("chaos-seed", 0, "repeat the choices of an earlier TestChaos; 0: new ones")
)

const chaosClients = 50

// chaosRun is one scenario: a mesh, its upstream and its clients.
type chaosRun struct {
	*mesh
	upstream  *effects
	clients   []*caller
	faults    []fault
	successes atomic.Int64
	result    chaosResult

	mu      sync.Mutex // guards answers
	answers map[string]int
}

// TestChaos drives clients that retry through everything that may fail, and then
// counts: no key has two effects, nobody was told anything wrong, and what nobody
// knows is called unknown.
//
// It isn't parallel: it takes the whole machine.
func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64() >> 1
	}
	t.Logf("to repeat it: -chaos-seed %d", seed)
	all := chaosReport{Seed: seed, chaosCounts: chaosCounts{Faults: make(map[string]int)}}
	for i, name := range []string{"single", "replicated"} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			r := startChaos(t, name, random)
			r.play(t, random, *chaosTime/2)
			all.add(r.judge(t))
		})
	}
	all.write(t, filepath.Join("..", "..", "bench", "out", "chaos.json"))
}

func startChaos(t *testing.T, name string, random *rand.Rand) *chaosRun {
	t.Helper()
	r := &chaosRun{upstream: startEffects(t, random.Uint64()), answers: make(map[string]int)}
	replicas, redis, faults := "0", "", []fault(nil)
	if name == "replicated" {
		replicas = "1"
		redis, faults = replicatedRedis(t)
	} else {
		redis, faults = singleRedis(t, random)
	}
	r.mesh = startMesh(t, meshOptions{
		config: "chaos.yaml", tools: "chaos_tools.yaml",
		values: map[string]string{"Upstream": r.upstream.address, "Redis": redis, "Replicas": replicas},
		files: func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "claims.key"), []byte(claimKey), 0o600))
		},
	})
	r.result = chaosResult{Scenario: name, chaosCounts: chaosCounts{Faults: make(map[string]int)}}
	r.faults = append(r.crashes(random), faults...)
	for n := range chaosClients {
		client := clientOf(t, &http.Transport{})
		if n%2 == 1 {
			client = http2Client(t)
		}
		r.clients = append(r.clients, &caller{
			run: r, name: fmt.Sprintf("%s-%02d", name, n), http: client,
			random: rand.New(rand.NewPCG(random.Uint64(), 0)),
		})
	}
	return r
}

// play lets the clients work while there are faults. In the end everything is
// well again, and each key is asked for until the answer is definite.
func (r *chaosRun) play(t *testing.T, random *rand.Rand, long time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	started := time.Now()
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	for _, c := range r.clients {
		working.Go(func() { c.work(ctx) })
	}
	r.inject(t, random, started.Add(long), r.faults)
	stop()
	working.Wait()
	r.result.Seconds = time.Since(started).Seconds()

	r.upstream.calm.Store(true)
	eventually(t, 10*time.Second, "the upstream has done all that it was asked for", func() bool { return r.upstream.open.Load() == 0 })
	for _, c := range r.clients {
		working.Go(func() {
			for _, k := range c.keys {
				c.insist(t.Context(), k, 15*time.Second)
			}
		})
	}
	working.Wait()
}

// count counts an answer, and what a client got otherwise.
func (r *chaosRun) count(label string) {
	if label == "success" {
		r.successes.Add(1)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[label]++
}
