package catalogue

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// Bounds of one condition. The cost is CEL's own unit, about one per operation,
// key looked up or ten characters read; the limit is some milliseconds of work.
const (
	maxExpression      = 4 << 10 // bytes
	maxExpressionNodes = 2_000
	maxConditionCost   = 100_000
)

// Condition is one rule about a call, in CEL (https://cel.dev), that must be true.
//
// It sees the variables
//
//	principal.id, .issuer, .subject, .client, .tenant, .acr   string
//	principal.scopes, .roles                                  list(string)
//	principal.claims                                          map(string, dyn)
//	args                                                      map(string, dyn)
//	request.method, .path, .server, .tool, .source_address    string
//	request.time                                              timestamp
//
// and the functions of CEL and of its network extension: cidr, ip …
//
// A number in args and claims that is whole and fits an int64 is an int, however
// it is written (7, 7.0, 70e-1); another with at most 17 significant digits is
// the nearest double. A number that is neither can't be compared, so it is an
// error for the whole condition if it is in a member of args or claims that the
// expression uses otherwise than with has, in or size. The rest of args may have
// such numbers.
//
// An int is exact, but servers that read numbers as doubles, as JavaScript does,
// round those beyond 2^53: for such identifiers the argument, and so what a
// condition compares it with, should be a string.
//
// A key that isn't there, a value of the wrong type or too much work is an error
// too, and an error means no: has(args.x) asks whether a key is there.
type Condition struct {
	Expression string
	Message    string // for the caller of a refused call: what to do
}

// Vars is what the conditions of one call see. It isn't kept.
type Vars struct {
	Principal PrincipalVars
	Args      map[string]any // as operation.Operation has them
	Request   RequestVars
}

// PrincipalVars are the variables named principal.
type PrincipalVars struct {
	ID, Issuer, Subject, Client, Tenant string
	Scopes, Roles                       []string
	ACR                                 string
	Claims                              map[string]any
}

// RequestVars are the variables named request.
type RequestVars struct {
	Method, Path, Server, Tool string
	Time                       time.Time
	SourceAddress              string
}

// CheckConditions returns the first condition that is not true, or an error for
// one that can't be decided. Both mean that the call is refused. The error is
// made for the caller: it is the condition's message, and the key that the call
// lacks if that is the reason.
func (t *Tool) CheckConditions(vars *Vars) (failed *Condition, err error) {
	for i, program := range t.conditions {
		holds, err := program.holds(vars)
		if err != nil {
			return nil, fmt.Errorf("%s (%w)", t.Conditions[i].Message, err)
		}
		if !holds {
			return t.Conditions[i], nil
		}
	}
	return nil, nil
}

// conditionCompiler compiles the conditions of all tools.
type conditionCompiler struct{ env *cel.Env }

func newConditionCompiler() (*conditionCompiler, error) {
	env, err := cel.NewEnv(
		// Dotted names need no object type, and so no reflection, yet a name that
		// doesn't exist is found when the catalogue is loaded.
		cel.Variable("principal.id", cel.StringType),
		cel.Variable("principal.issuer", cel.StringType),
		cel.Variable("principal.subject", cel.StringType),
		cel.Variable("principal.client", cel.StringType),
		cel.Variable("principal.tenant", cel.StringType),
		cel.Variable("principal.acr", cel.StringType),
		cel.Variable("principal.scopes", cel.ListType(cel.StringType)),
		cel.Variable("principal.roles", cel.ListType(cel.StringType)),
		cel.Variable("principal.claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("args", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("request.method", cel.StringType),
		cel.Variable("request.path", cel.StringType),
		cel.Variable("request.server", cel.StringType),
		cel.Variable("request.tool", cel.StringType),
		cel.Variable("request.source_address", cel.StringType),
		cel.Variable("request.time", cel.TimestampType),
		cel.CustomTypeAdapter(numberAdapter{types.DefaultTypeAdapter}),
		ext.Network(),
		cel.ExpressionNodeLimit(maxExpressionNodes),
	)
	if err != nil {
		return nil, fmt.Errorf("conditions: %w", err)
	}
	return &conditionCompiler{env}, nil
}

// compile returns the program, or all that is wrong with the expression.
func (c *conditionCompiler) compile(expression string) (program, []string) {
	ast, issues := c.env.Compile(expression)
	if issues.Err() != nil {
		var faults []string
		for _, e := range issues.Errors() {
			text, _, _ := strings.Cut(e.Message, "\n")
			if line := e.Location.Line(); line > 0 {
				text += fmt.Sprintf(" (line %d, column %d)", line, e.Location.Column()+1)
			}
			faults = append(faults, text)
		}
		return program{}, faults
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return program{}, []string{fmt.Sprintf("gives %s, must give bool (a value of args or claims: compare it with true)", ast.OutputType())}
	}
	args, claims := usedMembers(ast, "args"), usedMembers(ast, "principal.claims")
	compiled, err := c.env.Program(ast, cel.EvalOptions(cel.OptOptimize),
		cel.CostTracking(argumentCost{}), cel.CostLimit(maxConditionCost))
	if err != nil {
		return program{}, []string{err.Error()}
	}
	return program{compiled, args, claims}, nil
}

// argumentCost makes calls cost what their arguments are long. CEL knows that only
// where types are static; for args and claims it counts size, + and in as 1, and a
// loop over a long list with a long text in it would run for seconds.
type argumentCost struct{}

// CallCost is part of CEL's cost.ActualCostEstimator; nil leaves the cost to CEL.
func (argumentCost) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	const small = 100
	var cost uint64
	for _, arg := range args {
		switch v := arg.(type) {
		case types.String:
			cost += uint64(len(v)) / 10
		case types.Bytes:
			cost += uint64(len(v)) / 10
		case traits.Sizer:
			if n, ok := v.Size().(types.Int); ok && n > 0 {
				cost += uint64(n)
			}
		}
	}
	if cost < small || function == "matches" { // CEL knows its cost, which is that of the pattern too
		return nil
	}
	return &cost
}

// program is a compiled condition; any number of goroutines may run it.
type program struct {
	cel          cel.Program
	args, claims members
}

var (
	errNotDecided = errors.New("not decidable for this call")
	errCost       = errors.New("too much work to decide for this call")
)

func (p program) holds(vars *Vars) (bool, error) {
	if name, ok := p.args.unheld(vars.Args); ok {
		return false, fmt.Errorf("argument %s has a number that can't be compared exactly", quoteShort(name))
	}
	if name, ok := p.claims.unheld(vars.Principal.Claims); ok {
		return false, fmt.Errorf("claim %s has a number that can't be compared exactly", quoteShort(name))
	}
	value, _, err := p.cel.Eval((*activation)(vars))
	if err != nil {
		return false, evalError(err)
	}
	return value == types.True, nil
}

// evalError takes from CEL's errors what tells the caller which argument is
// missing, and nothing that may hold a value.
func evalError(err error) error {
	switch text := err.Error(); {
	case strings.HasPrefix(text, "no such key: "):
		return errors.New("no such key: " + quoteShort(strings.TrimPrefix(text, "no such key: ")))
	case strings.Contains(text, "cost limit exceeded"):
		return errCost
	}
	return errNotDecided
}

// activation gives a program the variables of Vars.
type activation Vars

// Parent is part of cel.Activation: there are no further variables.
func (a *activation) Parent() cel.Activation { return nil }

// ResolveName is part of cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "args":
		return a.Args, true
	case "principal.claims":
		return a.Principal.Claims, true
	case "principal.scopes":
		return a.Principal.Scopes, true
	case "principal.roles":
		return a.Principal.Roles, true
	case "request.time":
		return a.Request.Time, true
	}
	if s := a.text(name); s != nil {
		return types.String(*s), true // a string would be copied once more
	}
	return nil, false
}

func (a *activation) text(name string) *string {
	switch name {
	case "principal.id":
		return &a.Principal.ID
	case "principal.issuer":
		return &a.Principal.Issuer
	case "principal.subject":
		return &a.Principal.Subject
	case "principal.client":
		return &a.Principal.Client
	case "principal.tenant":
		return &a.Principal.Tenant
	case "principal.acr":
		return &a.Principal.ACR
	case "request.method":
		return &a.Request.Method
	case "request.path":
		return &a.Request.Path
	case "request.server":
		return &a.Request.Server
	case "request.tool":
		return &a.Request.Tool
	case "request.source_address":
		return &a.Request.SourceAddress
	}
	return nil
}
