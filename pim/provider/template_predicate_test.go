package provider

import (
	"errors"
	"testing"
)

func TestTemplatePredicates(t *testing.T) {
	t.Parallel()
	item, err := decode([]byte(`{"text":"Yes","number":7,"big":12345678901234567890,"true":true,"null":null,"no":"","none":[],"nothing":{},
		"list":[{"id":"a"},{"id":"b"}],"past":"2026-11-28T11:00:00Z","now":"2026-11-28T13:00:00+01:00","soon":1795867201,"soon text":"1795867201",
		"fraction":1795867201.5,"zero":0,"negative":-1,"far":1795867201000,"word":"soon",
		"date":"2026-11-28","clock":"13:00","later":"13:00:01","zone":"Europe/Berlin","badzone":"../etc/passwd"}`))
	if err != nil {
		t.Fatal(err)
	}
	const holds, fails, odd = "holds", "fails", "odd"
	for _, c := range []struct {
		want string
		p    Predicate
	}{
		{holds, Predicate{Path: "text", Op: OpEqual, Value: "Yes"}},
		{fails, Predicate{Path: "text", Op: OpEqual, Value: "yes"}},
		{holds, Predicate{Path: "text", Op: OpEqual, Value: "yes", FoldCase: true}},
		{fails, Predicate{Path: "text", Op: OpNotEqual, Value: "yEs", FoldCase: true}},
		{holds, Predicate{Path: "text", Op: OpNotEqual, Value: "yes"}},
		{holds, Predicate{Path: "text", Op: OpEqual, Value: "{user}"}},
		{holds, Predicate{Path: "number", Op: OpEqual, Value: "7"}},
		{fails, Predicate{Path: "number", Op: OpEqual, Value: "7.0"}},
		{holds, Predicate{Path: "big", Op: OpEqual, Value: "12345678901234567890"}},
		{holds, Predicate{Path: "true", Op: OpEqual, Value: "true"}},
		{holds, Predicate{Path: "list.1.id", Op: OpEqual, Value: "b"}},
		{odd, Predicate{Path: "list.2.id", Op: OpEqual, Value: "b"}},
		{odd, Predicate{Path: "list.-1.id", Op: OpEqual, Value: "b"}},
		{odd, Predicate{Path: "list.id", Op: OpEqual, Value: "b"}},
		{odd, Predicate{Path: "text.x", Op: OpEqual, Value: "b"}},
		{odd, Predicate{Path: "list", Op: OpEqual, Value: "b"}},
		{odd, Predicate{Path: "Text", Op: OpEqual, Value: "Yes"}},
		{odd, Predicate{Path: "null", Op: OpEqual, Value: "null"}},
		{odd, Predicate{Path: "absent", Op: OpNotEqual, Value: "x"}},
		{holds, Predicate{Path: "absent", Op: OpNotEqual, Value: "x", Missing: MissingHolds}},
		{fails, Predicate{Path: "absent", Op: OpNotEqual, Value: "x", Missing: MissingFails}},
		{holds, Predicate{Path: "past", Op: OpPast}},
		{fails, Predicate{Path: "past", Op: OpFuture}},
		{holds, Predicate{Path: "now", Op: OpPast}},
		{fails, Predicate{Path: "now", Op: OpFuture}},
		{holds, Predicate{Path: "soon", Op: OpFuture}},
		{fails, Predicate{Path: "soon", Op: OpPast}},
		{odd, Predicate{Path: "word", Op: OpFuture}},
		{holds, Predicate{Path: "fraction", Op: OpFuture}},
		{holds, Predicate{Path: "zero", Op: OpPast}},
		{odd, Predicate{Path: "negative", Op: OpPast}},
		{odd, Predicate{Path: "far", Op: OpFuture}},
		{odd, Predicate{Path: "true", Op: OpPast}},
		{odd, Predicate{Path: "absent", Op: OpFuture}},
		{holds, Predicate{Path: "absent", Op: OpFuture, Missing: MissingHolds}},
		{fails, Predicate{Path: "absent", Op: OpPast, Missing: MissingFails}},
		{holds, Predicate{Path: "date,clock,zone", Op: OpPast}},
		{holds, Predicate{Path: "date, later, zone", Op: OpFuture}},
		{odd, Predicate{Path: "date,clock,badzone", Op: OpPast}},
		{odd, Predicate{Path: "date,text,zone", Op: OpPast}},
		{odd, Predicate{Path: "date,absent,zone", Op: OpPast}},
		{holds, Predicate{Path: "no", Op: OpEmpty}},
		{holds, Predicate{Path: "none", Op: OpEmpty}},
		{holds, Predicate{Path: "nothing", Op: OpEmpty}},
		{holds, Predicate{Path: "null", Op: OpEmpty}},
		{holds, Predicate{Path: "absent", Op: OpEmpty}},
		{fails, Predicate{Path: "zero", Op: OpEmpty}},
		{fails, Predicate{Path: "list", Op: OpEmpty}},
		{holds, Predicate{Path: "text", Op: OpFilled}},
		{fails, Predicate{Path: "no", Op: OpFilled}},
		{holds, Predicate{Path: "no", Op: OpExists}},
		{fails, Predicate{Path: "null", Op: OpExists}},
		{fails, Predicate{Path: "absent", Op: OpExists}},
	} {
		compiled, err := compilePredicates([]Predicate{c.p}, "when", checkNames())
		if err != nil {
			t.Error(err)
			continue
		}
		got := fails
		switch ok, err := allHold(compiled, item, values{"user": "Yes"}, noon); {
		case errors.Is(err, ErrAnswer) && !ok:
			got = odd
		case err != nil:
			t.Errorf("%+v: %v", c.p, err)
		case ok:
			got = holds
		}
		if got != c.want {
			t.Errorf("%+v %s, want %s", c.p, got, c.want)
		}
	}
}
