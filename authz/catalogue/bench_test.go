package catalogue

import (
	"fmt"
	"strings"
	"testing"
)

// benchTool is a write tool as they are in practice.
const benchTool = `
risk_level: write
required_scopes: [service.write]
conditions:
- {expression: args.amount <= 100 || "manager" in principal.roles, message: Ask a manager.}
input_schema:
  type: object
  additionalProperties: false
  required: [vin, amount]
  properties:
    vin: {type: string, pattern: "^V-[0-9]+$", maxLength: 20}
    amount: {type: integer, minimum: 1, maximum: 1000}
    mail: {type: string, format: email}
    parts: {type: array, maxItems: 10, items: {type: object, properties: {id: {type: string}, count: {type: integer}}}}
`

const benchArgs = `{"vin": "V-12345", "amount": 20, "mail": "a@example.com", "parts": [{"id": "x", "count": 2}, {"id": "y", "count": 1}]}`

// BenchmarkValidateArguments has the fast way, and the library alone.
func BenchmarkValidateArguments(b *testing.B) {
	t, args := tool(b, benchTool), arguments(b, benchArgs)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := t.ValidateArguments(args); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := t.schema.compiled.Validate(args); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		wrong := arguments(b, `{"vin": "x"}`)
		b.ReportAllocs()
		for b.Loop() {
			if err := t.ValidateArguments(wrong); err == nil {
				b.Fatal("no error")
			}
		}
	})
}

func BenchmarkCheckConditions(b *testing.B) {
	for _, expression := range []string{
		`principal.tenant == "tenant"`,
		`args.amount <= 100`,
		`args.amount <= 10 || "manager" in principal.roles`,
		`args.parts.all(p, p.count < 5)`,
		`cidr("10.0.0.0/8").containsIP(request.source_address)`,
	} {
		b.Run(expression, func(b *testing.B) {
			t := &Tool{conditions: []program{compileCondition(b, expression)}}
			vars := exampleVars(b, benchArgs)
			b.ReportAllocs()
			for b.Loop() {
				if failed, err := t.CheckConditions(vars); failed != nil || err != nil {
					b.Fatal(failed, err)
				}
			}
		})
	}
}

func BenchmarkTool(b *testing.B) {
	c := load(b, "version: 1\ntools: [{name: t, server: s, risk_level: read}]")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Tool("s", "t"); !ok {
			b.Fatal("not there")
		}
	}
}

// BenchmarkLoad loads 1000 tools.
func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("version: 1\ntools:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "- name: t%d\n  server: s\n%s\n", i, indent(benchTool))
	}
	cfg := Config{Files: []string{write(b, text.String())}}
	for b.Loop() {
		if _, err := Load(cfg, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations keeps the way of a good call lean. It can't run beside others.
func TestAllocations(t *testing.T) {
	target, args := tool(t, benchTool), arguments(t, benchArgs)
	c := load(t, "version: 1\ntools: [{name: t, server: s, risk_level: read}]")
	vars := exampleVars(t, benchArgs)
	for _, check := range []struct {
		name string
		most float64
		run  func()
	}{
		{"Tool", 0, func() { c.Tool("s", "t") }},
		{"ValidateArguments", 1, func() { _ = target.ValidateArguments(args) }}, // 1: the format
		{"CheckConditions", 6, func() { _, _ = target.CheckConditions(vars) }},
		{"Covers", 0, func() { target.Shadow.Covers("waf", noon) }},
	} {
		if got := testing.AllocsPerRun(100, check.run); got > check.most {
			t.Errorf("%s allocates %v times, at most %v are right", check.name, got, check.most)
		}
	}
}
