package operation_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/authz/operation"
)

// heavyCalls are tool calls of which each byte costs the most.
func heavyCalls() map[string]*operation.Request {
	var members []string
	for i := range 60_000 {
		members = append(members, fmt.Sprintf(`"k%d":0`, i))
	}
	object := "{" + strings.Join(members, ",") + "}"
	calls := make(map[string]*operation.Request)
	for name, x := range map[string]string{
		"members":   object,
		"objects":   `[{"a":0,"b":0}` + strings.Repeat(`,{"a":0,"b":0}`, 20_000) + `]`,
		"zeros":     `[0` + strings.Repeat(",0", 120_000) + `]`,
		"fractions": `[0` + strings.Repeat(",0.12345678901234561", 45_000) + `]`,
	} {
		calls[name] = call(params("tools/call", `"name":"book","arguments":{"x":`+x+`}`))
	}
	return calls
}

// TestHeavyCalls bounds the memory of the largest calls. It can't run beside others.
func TestHeavyCalls(t *testing.T) {
	const most = 24 << 20
	server := mustNew(t, mcpConfig())
	for name, req := range heavyCalls() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := server.Parse(req)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err != nil || took > most {
			t.Errorf("%s: %d bytes for %d, %v", name, took, len(req.Body), err)
		}
	}
}

func BenchmarkHeavyCalls(b *testing.B) {
	server := mustNew(b, mcpConfig())
	for name, req := range heavyCalls() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = server.Parse(req)
			}
		})
	}
}
