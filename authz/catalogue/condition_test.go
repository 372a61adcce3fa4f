package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/google/go-cmp/cmp"
)

func compileCondition(t testing.TB, expression string) program {
	t.Helper()
	compiler, err := newConditionCompiler()
	if err != nil {
		t.Fatal(err)
	}
	p, faults := compiler.compile(expression)
	if len(faults) != 0 {
		t.Fatalf("%s: %v", expression, faults)
	}
	return p
}

func arguments(t testing.TB, text string) map[string]any {
	t.Helper()
	value, err := parseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	args, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("%s is no object", text)
	}
	return args
}

func exampleVars(t testing.TB, args string) *Vars {
	return &Vars{
		Principal: PrincipalVars{
			ID: "id", Issuer: "https://issuer", Subject: "sub", Client: "app", Tenant: "tenant", ACR: "gold",
			Scopes: []string{"read", "write"}, Roles: []string{"manager"},
			Claims: map[string]any{
				"iat": json.Number("1768478400"), "groups": []any{"sales", "north"}, "limit": json.Number("2.5"),
				"nested": map[string]any{"deep": true}, "nothing": nil, "big": json.Number("18446744073709551623"),
			},
		},
		Args: arguments(t, args),
		Request: RequestVars{
			Method: "tools/call", Path: "/mcp", Server: "dealer", Tool: "refund", Time: noon, SourceAddress: "10.1.2.3",
		},
	}
}

// unheld is the error for a number that CEL can't hold.
func unheld(what, name string) error {
	return fmt.Errorf("%s %q has a number that can't be compared exactly", what, name)
}

func TestConditions(t *testing.T) {
	t.Parallel()
	const args = `{"amount": 100, "ratio": 0.5, "vin": "V-1", "ok": true, "none": null,
		"items": [{"price": 5}, {"price": 7.25}], "account": 9007199254740993, "long": 12345678901234567890123,
		"longs": [12345678901234567890123], "fine": 0.1234567890123456789, "deep": {"er": {"x": 18446744073709551623}}}`
	for _, c := range []struct {
		expression string
		want       bool
		err        error
	}{
		{expression: `principal.id == "id" && principal.issuer == "https://issuer" && principal.subject == "sub"`, want: true},
		{expression: `principal.client == "app" && principal.tenant == "tenant" && principal.acr == "gold"`, want: true},
		{expression: `"write" in principal.scopes && principal.roles == ["manager"]`, want: true},
		{expression: `principal.scopes.exists(s, s.startsWith("adm"))`, want: false},
		{expression: `principal.claims.groups.exists(g, g == "north") && principal.claims.nested.deep == true`, want: true},
		{expression: `"sales" in principal.claims.groups && principal.claims.nothing == null`, want: true},
		{expression: `principal.claims.limit * 2.0 == 5.0`, want: true},
		{expression: `timestamp(int(principal.claims.iat)) == request.time`, want: true},
		{expression: `request.method == "tools/call" && request.path == "/mcp" && request.server == "dealer" && request.tool == "refund"`, want: true},
		{expression: `request.time.getHours("UTC") == 12 && request.time < timestamp("2026-01-15T12:00:01Z")`, want: true},
		{expression: `cidr("10.0.0.0/8").containsIP(request.source_address)`, want: true},
		{expression: `!cidr("10.1.0.0/16").containsIP(ip(request.source_address))`, want: false},

		{expression: `args.amount <= 100 && args.amount * 2 == 200`, want: true},
		{expression: `args.amount < 99.5`, want: false},
		{expression: `args.ratio == 0.5 && args.ratio < 1`, want: true},
		{expression: `args.vin.matches("^V-[0-9]+$") && size(args.vin) == 3`, want: true},
		{expression: `args.ok == true && args.none == null`, want: true},
		{expression: `args.items.all(i, i.price > 4) && args.items[1].price == 7.25`, want: true},
		{expression: `has(args.absent) && args.absent > 1`, want: false},
		{expression: `size(args) == 11 && "vin" in args`, want: true},

		// Digits count: a double would make these two accounts one.
		{expression: `args.account == 9007199254740993`, want: true},
		{expression: `args.account == 9007199254740992`, want: false},
		// What no number of CEL holds exactly is compared with nothing, in any order
		// and in any depth, and only where the expression looks at it.
		{expression: `args.long != 7`, err: unheld("argument", "long")},
		{expression: `7 != args.long`, err: unheld("argument", "long")},
		{expression: `args.long == "12345678901234567890123"`, err: unheld("argument", "long")},
		{expression: `!(args["long"] in [7, 8])`, err: unheld("argument", "long")},
		{expression: `[7] != args.longs && !(7 in args.longs)`, err: unheld("argument", "longs")},
		{expression: `args.longs.all(l, l != 7)`, err: unheld("argument", "longs")},
		{expression: `args.deep.er.all(k, args.deep.er[k] != 7)`, err: unheld("argument", "deep")},
		{expression: `args.all(k, k != "long")`, err: unheld("argument", "deep")},
		{expression: `{"a": args}.a.long != 7`, err: unheld("argument", "deep")},
		{expression: `["long"].all(k, args[k] != 7)`, err: unheld("argument", "deep")},
		{expression: `args.amount == 100 || args.long == 7`, err: unheld("argument", "long")},
		{expression: `args.fine < 1.0`, err: unheld("argument", "fine")},
		{expression: `principal.claims.big != 7`, err: unheld("claim", "big")},
		{expression: `principal.claims.exists(k, k == "limit")`, err: unheld("claim", "big")},
		{expression: `has(args.long) && "long" in args && size(args) > 5 && args.size() > 5 && args.amount == 100`, want: true},

		// An error means no, unless the rest decides alone.
		{expression: `args.absent == 1 || args.amount == 100`, want: true},
		{expression: `args.absent == 1 && args.amount == 1`, want: false},
		{expression: `args.absent == 1`, err: errors.New(`no such key: "absent"`)},
		{expression: `principal.claims.absent == "x"`, err: errors.New(`no such key: "absent"`)},
		{expression: `args.vin > 5`, err: errNotDecided},
		{expression: `args.amount / 0 == 1`, err: errNotDecided},
		{expression: `args.items[2].price == 1`, err: errNotDecided},
		{expression: `cidr("10.0.0.0/8").containsIP(args.vin)`, err: errNotDecided},
		{expression: `args.vin.matches(args.vin + "(")`, err: errNotDecided},
	} {
		got, err := compileCondition(t, c.expression).holds(exampleVars(t, args))
		if got != c.want || (err == nil) != (c.err == nil) || err != nil && err.Error() != c.err.Error() {
			t.Errorf("%s\n got %v, %v\nwant %v, %v", c.expression, got, err, c.want, c.err)
		}
	}
}

func TestCheckConditions(t *testing.T) {
	t.Parallel()
	tool := tool(t, `
risk_level: write
conditions:
- {expression: args.amount <= 100, message: Refunds over 100 need a manager.}
- {expression: '"refund" in principal.scopes || args.amount == 0', message: Ask for the scope refund.}`)
	for _, c := range []struct{ args, failed, err string }{
		{args: `{"amount": 0}`},
		{args: `{"amount": 101}`, failed: "Refunds over 100 need a manager."},
		{args: `{"amount": 5}`, failed: "Ask for the scope refund."},
		{args: `{}`, err: `Refunds over 100 need a manager. (no such key: "amount")`},
		{args: `{"amount": "secret"}`, err: "Refunds over 100 need a manager. (not decidable for this call)"},
	} {
		failed, err := tool.CheckConditions(exampleVars(t, c.args))
		var gotFailed, gotErr string
		if failed != nil {
			gotFailed = failed.Message
		}
		if err != nil {
			gotErr = err.Error()
		}
		if gotFailed != c.failed || gotErr != c.err {
			t.Errorf("%s: got %q, %q, want %q, %q", c.args, gotFailed, gotErr, c.failed, c.err)
		}
	}
}

// TestConditionCost ends what would take too long, in bounded time.
func TestConditionCost(t *testing.T) {
	t.Parallel()
	list := make([]any, 50_000)
	for i := range list {
		list[i] = json.Number("1")
	}
	vars := &Vars{Args: map[string]any{"list": list, "long": strings.Repeat("a", 800<<10)}}
	for _, expression := range []string{
		`args.list.all(x, x > 0)`,
		`args.list.exists(x, args.list.exists(y, x == y + 5))`,
		`args.list.map(x, [x, x]) == []`,
		`args.long.matches("(a*)*b")`,
		// Each of these ran for seconds when only CEL counted.
		`args.list.all(x, args.long + args.long != "x")`,
		`args.list.all(x, size(args.long) > 1)`,
		`args.list.all(x, string(args.long) != "")`,
		`args.list.all(x, !(2.5 in args.list))`,
	} {
		if holds, err := compileCondition(t, expression).holds(vars); holds || !errors.Is(err, errCost) {
			t.Errorf("%s: %v, %v", expression, holds, err)
		}
	}
}

// TestArgumentCost has long arguments, which cost what they are long, and short
// ones, which CEL counts.
func TestArgumentCost(t *testing.T) {
	t.Parallel()
	long, list := types.String(strings.Repeat("a", 2000)), types.NewStringList(types.DefaultTypeAdapter, make([]string, 300))
	for _, c := range []struct {
		function string
		args     []ref.Val
		want     uint64 // 0: nil
	}{
		{"size", []ref.Val{long}, 200},
		{"_+_", []ref.Val{long, long}, 400},
		{"@in", []ref.Val{types.Int(1), list}, 300},
		{"size", []ref.Val{types.Bytes(long)}, 200},
		{"matches", []ref.Val{long, long}, 0},
		{"_+_", []ref.Val{types.Int(1), types.String("a")}, 0},
		{"f", nil, 0},
	} {
		got := argumentCost{}.CallCost(c.function, "", c.args, nil)
		if (got == nil) != (c.want == 0) || got != nil && *got != c.want {
			t.Errorf("%s: cost %v, want %d", c.function, got, c.want)
		}
	}
}

func TestConditionsConcurrently(t *testing.T) {
	t.Parallel()
	p := compileCondition(t, `args.items.all(i, i < 5) && args.vin.matches("^V")`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			vars := exampleVars(t, `{"items": [1, 2, 3], "vin": "V"}`)
			for range 100 {
				if holds, err := p.holds(vars); !holds || err != nil {
					t.Errorf("got %v, %v", holds, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestNumberValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ref.Val{
		"0": types.Int(0), "-0": types.Int(0), "0.0": types.Int(0), "0e5": types.Int(0), "-0.00e-7": types.Int(0),
		"7": types.Int(7), "-7": types.Int(-7), "7.0": types.Int(7), "70e-1": types.Int(7), "0.7e1": types.Int(7), "7E0": types.Int(7),
		"1e3": types.Int(1000), "-1.5e1": types.Int(-15), "1e18": types.Int(1e18),
		"9223372036854775807":      types.Int(9223372036854775807),
		"9223372036854775807.000":  types.Int(9223372036854775807),
		"-9223372036854775808":     types.Int(-9223372036854775808),
		"-9.223372036854775808e18": types.Int(-9223372036854775808),
		"9223372036854775808":      types.String("9223372036854775808"),
		"-9223372036854775809":     types.String("-9223372036854775809"),
		"1e19":                     types.Double(1e19),
		"1e308":                    types.Double(1e308),
		"1e309":                    types.String("1e309"),
		"1e-308":                   types.Double(1e-308),
		"1e-400":                   types.String("1e-400"),
		"0.1":                      types.Double(0.1),
		"-2.50":                    types.Double(-2.5),
		"0.30000000000000004":      types.Double(0.30000000000000004),
		"0.123456789012345678":     types.String("0.123456789012345678"),
		"1.00000000000000000001":   types.String("1.00000000000000000001"),
		"0.99999999999999999999":   types.String("0.99999999999999999999"),
		"1e99999999999999999999":   types.String("1e99999999999999999999"),
	} {
		if diff := cmp.Diff(want, numberValue(text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// exactly is a number's value; nil where its exponent is absurd.
func exactly(text string) *big.Rat {
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	if !strings.ContainsAny(mantissa, "123456789") { // zero, whatever its exponent
		return new(big.Rat)
	}
	r, _ := new(big.Rat).SetString(text)
	return r
}

func bigInt(i int64) *big.Int { return big.NewInt(i) }
