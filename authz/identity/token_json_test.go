package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeObject(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for _, c := range []struct {
		text string
		want error
	}{
		{`{}`, nil},
		{" {\"a\" : [1, {\"a\":null}] }\n", nil},
		{`{"a":1,"A":2}`, nil},
		{`{"a":{"x":1},"b":{"x":1}}`, nil},
		{`{"a":"\ud83d\ude00 \\ud800 \\\\ud800"}`, nil},
		{`{"a":"😀"}`, nil},
		{deep(maxDepth - 1), nil},
		{deep(maxDepth), errDepth},
		{`{"a":1,"a":1}`, errDuplicate},
		{`{"a":1,"\u0061":1}`, errDuplicate},
		{`{"é":1,"\u00e9":1}`, errDuplicate},
		{`{"a":[{"x":1,"x":1}]}`, errDuplicate},
		{`{"a":"\ud800"}`, errNotJSON},
		{`{"a":"\ud800x"}`, errNotJSON},
		{`{"a":"\ud800\u0061"}`, errNotJSON},
		{`{"a":"\ud800\ud800"}`, errNotJSON},
		{`{"a":"\udc00"}`, errNotJSON},
		{`{"\uDFFF":1}`, errNotJSON},
		{"{\"a\":\"\xff\"}", errNotJSON},
		{"{\"a\":\"\n\"}", errNotJSON},
		{`{}{}`, errNotJSON},
		{`{},`, errNotJSON},
		{`[]`, errNotJSON},
		{`"a"`, errNotJSON},
		{`1`, errNotJSON},
		{``, errNotJSON},
		{"\uFEFF{}", errNotJSON},
	} {
		if _, err := decodeObject([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%.60q: %v, want %v", c.text, err, c.want)
		}
	}
}

// What is accepted means what the standard library reads, without its leniency.
func FuzzDecodeObject(f *testing.F) {
	for _, text := range []string{`{"a":[1,2.5e3,"\ud83d\ude00",{"b":null}],"c":true}`, `{"a":1,"\u0061":1}`, `{"a":"\ud800"}`, `[]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeObject(data)
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("accepted %q: %v", data, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			t.Errorf("accepted a tail in %q", data)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", data, diff)
		}
	})
}
