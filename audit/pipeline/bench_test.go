package pipeline

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport/sallyport/audit"
)

// realistic is an event as large as that of a tool call.
func realistic(b []byte, i int) []byte {
	b = audit.AppendHead(b, time.Now(), "decision")
	return fmt.Appendf(b, `,"correlation_id":"7c1d9a34-0d6e-4a1b-9a53-%012x","user_id":"user-%d","tool_name":"vehicle_search","action":"tools/call","status":"allow","metadata":{"reason":"allowed","principal":{"id":"corp/Zq3mXw%08x","issuer":"corp","subject":"user-%d","client":"showroom-app","tenant":"north","token_id":"at-%d"},"server":"dealership","risk":"read","fingerprint":"%064x","policies_evaluated":["route","authentication","revocation","operation","scopes","schema","conditions","rate_limit","step_up","elevation","approval","idempotency"],"client_address":"192.0.2.%d","authority":"mcp.example.com","latency_us":%d}}`+"\n",
		i, i%997, i*2654435761, i%997, i, i*2654435761, i%250, 100+i%400)
}

// spent is the processor time that this process has used.
func spent() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPipeline carries events from Append to the archive, a folder, and the
// index, SQLite, on one core. It reports how many a second it could carry, and
// which part of the processor's time is that of the last stage added.
func BenchmarkPipeline(b *testing.B) {
	for _, indexed := range []bool{false, true} {
		b.Run(fmt.Sprintf("index=%v", indexed), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			w := newWorld(b)
			w.bytes, w.cfg.BatchEvents, w.store.fast = 4<<30, 0, true
			if indexed {
				w.index = openIndex(b)
			}
			p := w.start()
			line := make([]byte, 0, 1024)
			before := spent()
			size := 0
			b.ResetTimer()
			for i := range b.N {
				line = realistic(line[:0], i)
				size += len(line)
				if err := p.journal.Append(line, 0); err != nil {
					b.Fatal(err)
				}
			}
			appended := b.Elapsed()
			p.append(audit.Synced)
			p.settle()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(appended.Microseconds())/float64(b.N), "append-µs/event")
			b.ReportMetric(float64((spent()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/event")
			b.ReportMetric(float64(size)/float64(b.N), "bytes/event")
			p.stop()
		})
	}
}

// BenchmarkCut measures the parts of a cut: what the cutter does for a batch.
func BenchmarkCut(b *testing.B) {
	w := newWorld(b)
	w.cfg.BatchEvents = 5000
	p, err := w.open()
	if err != nil {
		b.Fatal(err)
	}
	var lines []byte
	for i := range 5000 {
		lines = realistic(lines, i)
		if len(lines) > 200<<10 || i == 4999 {
			if err := p.journal.Append(lines, audit.Synced); err != nil {
				b.Fatal(err)
			}
			lines = lines[:0]
		}
	}
	for what, part := range map[string]func(c *batch){
		"take": func(*batch) {
			if _, err := p.take(b.Context()); err != nil {
				b.Fatal(err)
			}
		},
		"seal":   func(c *batch) { p.seal(c) },
		"encode": func(c *batch) { p.codec.Encode(c.leaves) },
	} {
		b.Run(what, func(b *testing.B) {
			c, err := p.take(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				part(c)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N)/float64(len(c.leaves)), "µs/event")
		})
	}
}
