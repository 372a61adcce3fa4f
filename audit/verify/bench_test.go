package verify

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/ledger"
)

// BenchmarkVerify verifies 200,000 events of about 880 bytes, one in twenty with an
// object of its own, in an archive in memory. events/cpu-s are those per second of
// a core, also on a machine that does other things, too.
func BenchmarkVerify(b *testing.B) {
	const batches, perBatch = 40, 5000
	l := newLog(b, newShelf(), "gw-0a1b2c3d", newKey(b, "audit.example.com"))
	for range batches {
		for i := range perBatch {
			l.now = l.now.Add(time.Millisecond)
			l.line(decision(l.now, i), i%20 == 0)
		}
		l.cut()
	}
	now := l.now
	opts := Options{Keys: verifiers(b, l.keys[0]), Now: func() time.Time { return now }}
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		r, err := Verify(b.Context(), l.store, opts)
		if err != nil || r.ExitCode() != 0 || r.Events != batches*perBatch+1 {
			b.Fatalf("%v\n%s", err, human(b, r))
		}
	}
	b.ReportMetric(float64(len(decision(now, 1)))+64, "B/event")
	events := float64(b.N) * (batches*perBatch + 1)
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(events/(cpuTime(b)-before).Seconds(), "events/cpu-s")
}

// cpuTime is what the process used of all cores.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// decision is as large and as little compressible as a real one.
func decision(now time.Time, i int) []byte {
	line := audit.AppendHead(nil, now, "decision")
	return fmt.Appendf(line, `,"correlation_id":%q,"user_id":"u-%08d","tool_name":"orders.create","action":"POST /v1/orders","status":"allow","metadata":{"reason":"ok","principal":{"id":"u-%08d","issuer":"https://idp.example.com/realms/main","subject":"f:8a1c:%08d","client":"agent-7","tenant":"acme","token_id":"%.16x"},"server":"orders","target":"orders.example.com:443","risk":"write","fingerprint":"%x","policies_evaluated":["authentication","tenancy","catalogue","scopes","limits"],"client_address":"10.%d.%d.%d","latency_us":%d}}`,
		audit.NewID(now), i%977, i%977, i%977, ledger.LeafHash(line), ledger.LeafHash(append(line, 'f')), i%7, i%251, i%13, i%499)
}
