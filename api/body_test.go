package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Whatever comes, a body that is taken says what was read of it.
func FuzzElevateBody(f *testing.F) {
	for _, seed := range []string{
		refund, `{"tool":"a","arguments":{"x":[1,{}]}}`, `{"tool":"a","request":{"method":"GET","path":"/","body":""}}`,
		`{"duration_seconds":1e3}`, `{"tool" : "a" , "break_glass":true}`, `{"tool":"\ud800"}`, `{"a":1,"a":2}`, "{\"tool\":\"\xff\"}", `[`, `{}{}`, `{"":0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var body elevateBody
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(data))
		r.Header.Set("Content-Type", "application/json")
		if p := readBody(r, body.members()); p != nil {
			if p.Status < 400 || p.Status > 499 || len(p.Detail) > 300 || !json.Valid(p.JSON()) {
				t.Errorf("%+v", p)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatalf("taken: %q: %v", data, err)
		}
		if _, ok := members["tool"]; ok == (body.tool == "") && string(members["tool"]) != `""` {
			t.Errorf("tool %q of %q", body.tool, data)
		}
		if body.check() == nil && (body.arguments != nil || body.request != nil) {
			if call, err := body.call(); err != nil || !json.Valid([]byte(call)) {
				t.Errorf("call %q: %v", call, err)
			}
		}
	})
}
