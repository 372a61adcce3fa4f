package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

type exchangeOptions struct {
	rounds      int
	length      time.Duration
	connections int
	only        string // a variant; empty: all
	profile     string // a file; empty: none
}

// exchangeResult is bench/out/exchange.json. Calls per second are medians of the
// rounds; ratios are medians of the rounds' own ratios, in throughput.
type exchangeResult struct {
	Plain       float64 `json:"rps_plain"`        // Envoy without a filter that asks
	YesAuthz    float64 `json:"rps_yes_authz"`    // a yes-server on ext_authz
	YesBoth     float64 `json:"rps_yes_both"`     // and one on ext_proc, in the modes of our writes
	Read        float64 `json:"rps_read"`         // Sallyport, a tool that skips ext_proc
	WriteMemory float64 `json:"rps_write_memory"` // Sallyport, a tool with a key and a slot
	WriteRedis  float64 `json:"rps_write_redis"`  // the same, with all state in Redis

	ReadRatio        ratio `json:"read_ratio"`         // read to yes_authz
	WriteMemoryRatio ratio `json:"write_memory_ratio"` // write_memory to yes_both
	WriteRedisRatio  ratio `json:"write_redis_ratio"`  // write_redis to yes_both

	EnvoyCPU  map[string]float64 `json:"cpu_us_envoy"`  // per call in µs, by variant
	ServerCPU map[string]float64 `json:"cpu_us_server"` // of what Envoy asks

	Rounds      int     `json:"rounds"`
	Seconds     float64 `json:"seconds_per_round"`
	Connections int     `json:"connections"`
}

type ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`  // first quartile
	High   float64 `json:"high"` // third quartile
}

// The targets.
const (
	minReadRatio  = 0.95
	minWriteRatio = 0.85
)

// benchExchange measures all variants by turns and reports.
func benchExchange(ctx context.Context, out string, o exchangeOptions) (err error) {
	b, err := startExchangeBench(ctx, o.connections)
	if err != nil {
		return err
	}
	defer b.close()
	if o.only != "" {
		b.variants = slices.DeleteFunc(b.variants, func(v *variant) bool { return v.name != o.only })
	}
	if o.profile != "" {
		var profiling errgroup.Group
		profiling.Go(func() error { return saveProfile(ctx, "tcp", b.ops, o.profile) })
		defer func() { err = errors.Join(err, profiling.Wait()) }()
	}
	loads := make(map[string][]load)
	for round := -2; round < o.rounds; round++ { // two to warm up
		for _, v := range b.variants {
			l, err := v.round(ctx, o.length)
			if err != nil {
				return err
			}
			if round >= 0 {
				loads[v.name] = append(loads[v.name], l)
			}
		}
		slices.Reverse(b.variants) // none always comes after the same other one
	}
	return reportExchange(out, o, loads)
}

func reportExchange(out string, o exchangeOptions, loads map[string][]load) error {
	r := exchangeResult{
		EnvoyCPU: make(map[string]float64), ServerCPU: make(map[string]float64),
		Rounds: o.rounds, Seconds: o.length.Seconds(), Connections: o.connections,
	}
	fmt.Printf("through Envoy, median of %d rounds of %v with %d connections\n", o.rounds, o.length, o.connections)
	fmt.Printf("  %-14s %9s %14s %14s\n", "", "calls/s", "µs in Envoy", "µs in server")
	for _, line := range []struct {
		name string
		rps  *float64
	}{
		{"plain", &r.Plain},
		{"yes_authz", &r.YesAuthz},
		{"yes_both", &r.YesBoth},
		{"read", &r.Read},
		{"write_memory", &r.WriteMemory},
		{"write_redis", &r.WriteRedis},
	} {
		of := loads[line.name]
		if of == nil {
			continue
		}
		*line.rps = median(of, func(l load) float64 { return l.perSecond })
		r.EnvoyCPU[line.name] = median(of, func(l load) float64 { return l.envoy })
		r.ServerCPU[line.name] = median(of, func(l load) float64 { return l.server })
		fmt.Printf("  %-14s %9.0f %14.1f %14.1f\n", line.name, *line.rps, r.EnvoyCPU[line.name], r.ServerCPU[line.name])
	}
	if o.only != "" {
		return nil
	}
	r.ReadRatio = ratioOf(loads["read"], loads["yes_authz"])
	r.WriteMemoryRatio = ratioOf(loads["write_memory"], loads["yes_both"])
	r.WriteRedisRatio = ratioOf(loads["write_redis"], loads["yes_both"])
	fmt.Printf("  read / yes_authz         %v, at least %.2f wanted\n", r.ReadRatio, minReadRatio)
	fmt.Printf("  write_memory / yes_both  %v, at least %.2f wanted\n", r.WriteMemoryRatio, minWriteRatio)
	fmt.Printf("  write_redis / yes_both   %v\n", r.WriteRedisRatio)
	if err := writeResult(filepath.Join(out, "exchange.json"), r); err != nil {
		return err
	}
	if r.ReadRatio.Median < minReadRatio || r.WriteMemoryRatio.Median < minWriteRatio {
		return errors.New("throughput below the target")
	}
	return nil
}

func (r ratio) String() string {
	return fmt.Sprintf("%.3f (quartiles %.3f to %.3f)", r.Median, r.Low, r.High)
}

// ratioOf compares two variants round by round.
func ratioOf(a, b []load) ratio {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i].perSecond / b[i].perSecond
	}
	return ratio{Median: quantile(ratios, 0.5), Low: quantile(ratios, 0.25), High: quantile(ratios, 0.75)}
}

func median(loads []load, of func(load) float64) float64 {
	values := make([]float64, len(loads))
	for i, l := range loads {
		values[i] = of(l)
	}
	return quantile(values, 0.5)
}
