// Command bench measures what Sallyport costs. First the CPU per call of Check
// beside that of a gRPC server that only says yes; then, through Envoy, how many
// reads and writes get through beside a plain proxy and servers that only say
// yes. Between the two, what a record costs, and how fast the audit trail is. All
// are processes of their own, in one run and by turns, because machines are shared
// and noisy: only the ratios of a run count.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	out := flags.String("out", "bench/out", "folder for the results")
	rounds := flags.Int("rounds", 15, "measured rounds of Check")
	calls := flags.Int("calls", 4000, "calls per round of Check")
	exchangeRounds := flags.Int("exchange-rounds", 30, "measured rounds through Envoy")
	length := flags.Duration("exchange-length", 500*time.Millisecond, "length of such a round of each variant")
	connections := flags.Int("connections", 32, "connections to Envoy, each with one call at a time")
	part := flags.String("part", "all", "check, audit, exchange or all")
	only := flags.String("only", "", "with -part exchange: measure this variant alone, and write no results")
	profile := flags.String("profile", "", "with one part: file for a CPU profile of Sallyport while it is measured")
	yes := flags.String("yes", "", "only serve yes on this Unix socket (the bench starts itself with it)")
	exchanges := flags.Bool("exchanges", false, "with -yes: serve ext_proc too")
	upstream := flags.String("upstream", "", "only serve an upstream on this Unix socket (as -yes)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case *yes != "":
		return serveYes(ctx, *yes, *exchanges)
	case *upstream != "":
		return serveUpstream(ctx, *upstream)
	}
	var errs []error
	if *part == "check" || *part == "all" {
		errs = append(errs, benchCheck(ctx, *out, *rounds, *calls, *profile))
	}
	if *part == "audit" || *part == "all" {
		errs = append(errs, benchAudit(ctx, *out))
	}
	if *part == "exchange" || *part == "all" {
		errs = append(errs, benchExchange(ctx, *out, exchangeOptions{
			rounds: *exchangeRounds, length: *length, connections: *connections, only: *only, profile: *profile,
		}))
	}
	return errors.Join(errs...)
}

func benchCheck(ctx context.Context, out string, rounds, calls int, profile string) error {
	result, err := measure(ctx, rounds, calls, profile)
	if err != nil {
		return err
	}
	if result.DecisionAllocs, err = decisionAllocs(ctx); err != nil {
		return err
	}
	return report(out, result)
}

// result is bench/out/check.json.
type result struct {
	CPUYes         float64 `json:"cpu_us_yes"`     // CPU of the yes-server per call in µs, median of the rounds
	CPUCheck       float64 `json:"cpu_us_check"`   // the same of Sallyport
	Ratio          float64 `json:"cpu_ratio"`      // median of the rounds' ratios
	RatioLow       float64 `json:"cpu_ratio_low"`  // first quartile
	RatioHigh      float64 `json:"cpu_ratio_high"` // third quartile
	DecisionAllocs int     `json:"decision_allocs"`
	Rounds         int     `json:"rounds"`
	Calls          int     `json:"calls_per_round"`

	CPUWrite        float64 `json:"cpu_us_write"`         // of a Check of a write
	CPUPrivileged   float64 `json:"cpu_us_privileged"`    // of a privileged tool, whose caller holds a grant
	PrivilegedRatio float64 `json:"cpu_ratio_privileged"` // median of the rounds' ratios of the two
	PrivilegedLow   float64 `json:"cpu_ratio_privileged_low"`
	PrivilegedHigh  float64 `json:"cpu_ratio_privileged_high"`
}

// The targets.
const (
	maxRatio           = 1.5
	maxPrivilegedRatio = 1.2
	maxAllocs          = 25
)

func report(dir string, r result) error {
	fmt.Printf("CPU per Check, median of %d rounds of %d calls\n", r.Rounds, r.Calls)
	fmt.Printf("  server that says yes  %7.1f µs\n", r.CPUYes)
	fmt.Printf("  sallyport             %7.1f µs\n", r.CPUCheck)
	fmt.Printf("  ratio                 %7.2f    (quartiles %.2f to %.2f, at most %.2f wanted)\n", r.Ratio, r.RatioLow, r.RatioHigh, maxRatio)
	fmt.Printf("CPU per Check of a write and of a privileged tool, which are on the disk before they are answered\n")
	fmt.Printf("  write                 %7.1f µs\n", r.CPUWrite)
	fmt.Printf("  privileged, granted   %7.1f µs\n", r.CPUPrivileged)
	fmt.Printf("  ratio                 %7.2f    (quartiles %.2f to %.2f, at most %.2f wanted)\n", r.PrivilegedRatio, r.PrivilegedLow, r.PrivilegedHigh, maxPrivilegedRatio)
	fmt.Printf("allocations of the decision: %d (at most %d wanted)\n", r.DecisionAllocs, maxAllocs)
	if err := writeResult(filepath.Join(dir, "check.json"), r); err != nil {
		return err
	}
	if r.Ratio > maxRatio || r.PrivilegedRatio > maxPrivilegedRatio || r.DecisionAllocs > maxAllocs {
		return errors.New("over the target")
	}
	return nil
}

func writeResult(file string, result any) error {
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // results are for everybody
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // as above
}

// decisionAllocs runs the Go benchmark of the decision without gRPC.
func decisionAllocs(ctx context.Context) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDecide$", "-benchmem", "./authz")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("go test -bench: %w\n%s", err, text)
	}
	found := regexp.MustCompile(`(\d+) allocs/op`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("no allocations in the output of go test:\n%s", text)
	}
	return strconv.Atoi(string(found[1]))
}

// quantile of a copy of values; q from 0 to 1.
func quantile[T cmp.Ordered](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
