package catalogue

import (
	"encoding/json"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// members are those of a variable that an expression reads.
//
// A number that CEL can't hold must not reach it: as anything else than a number
// it would differ from every number, and a condition such as args.id != 7 would
// hold for one that the server reads as 7. No value of CEL makes that an error:
// "equal" with an unknown type on its right side is false, and errors in lists are
// skipped. So what an expression reads is looked through before it runs.
type members struct {
	all   bool
	names []string
}

// usedMembers finds the members of a variable that an expression reads. To ask
// whether one is there reads none.
func usedMembers(expression *cel.Ast, variable string) members {
	var m members
	tree := expression.NativeRep()
	ast.PreOrderVisit(ast.NavigateAST(tree), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.IdentKind || e.AsIdent() != variable {
			return
		}
		parent, ok := e.(ast.NavigableExpr).Parent()
		switch {
		case !ok:
			m.all = true
		case parent.Kind() == ast.SelectKind:
			if !parent.AsSelect().IsTestOnly() {
				m.add(parent.AsSelect().FieldName())
			}
		case parent.Kind() == ast.CallKind:
			m.addCall(parent.AsCall(), e.ID())
		default:
			m.all = true
		}
	}))
	return m
}

// addCall adds what a call reads of the variable, its argument with this id.
func (m *members) addCall(call ast.CallExpr, id int64) {
	args := call.Args()
	switch call.FunctionName() {
	case overloads.Size:
		return
	case operators.In:
		if args[0].ID() != id {
			return
		}
	case operators.Index:
		if name, ok := args[1].(ast.NavigableExpr).AsLiteral().(types.String); ok && args[0].ID() == id && args[1].Kind() == ast.LiteralKind {
			m.add(string(name))
			return
		}
	}
	m.all = true
}

func (m *members) add(name string) {
	if !slices.Contains(m.names, name) {
		m.names = append(m.names, name)
	}
}

// unheld finds a member with a number that CEL can't hold. It doesn't allocate.
func (m *members) unheld(values map[string]any) (name string, found bool) {
	if m.all {
		for other, value := range values {
			if (!found || other < name) && hasUnheld(value) {
				name, found = other, true
			}
		}
		return name, found
	}
	for _, name := range m.names {
		if hasUnheld(values[name]) {
			return name, true
		}
	}
	return "", false
}

func hasUnheld(value any) bool {
	switch v := value.(type) {
	case json.Number:
		return !isHeld(string(v))
	case []any:
		return slices.ContainsFunc(v, hasUnheld)
	case map[string]any:
		for _, member := range v {
			if hasUnheld(member) {
				return true
			}
		}
	}
	return false
}
