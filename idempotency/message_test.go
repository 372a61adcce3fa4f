package idempotency_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/idempotency"
)

func parse(t *testing.T, text string) *idempotency.Message {
	t.Helper()
	m, err := idempotency.ParseMessage([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestParseMessageRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                                       "not JSON",
		"{":                                      "not JSON",
		`{"jsonrpc":"2.0"} {}`:                   "not JSON",
		"\xef\xbb\xbf{}":                         "not JSON",
		"{\"jsonrpc\":\"2.0\",\"x\":\"\xff\"}":   "not JSON",
		"[]":                                     "not an object",
		`[{"jsonrpc":"2.0","id":1,"result":{}}]`: "not an object",
		`"text"`:                                 "not an object",
		`null`:                                   "not an object",
		`{}`:                                     "jsonrpc",
		`{"jsonrpc":2.0,"id":1,"result":{}}`:     "jsonrpc",
		`{"jsonrpc":"1.0","id":1,"result":{}}`:   "jsonrpc",
		`{"JSONRPC":"2.0","id":1,"result":{}}`:   "jsonrpc",
		`{"jsonrpc":"2.0","id":1}`:               "exactly one",
		`{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}}`:                     "exactly one",
		`{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`:                        "exactly one",
		`{"jsonrpc":"2.0","result":{}}`:                                               "id",
		`{"jsonrpc":"2.0","id":{},"result":{}}`:                                       "id",
		`{"jsonrpc":"2.0","id":true,"result":{}}`:                                     "id",
		`{"jsonrpc":"2.0","id":1,"id":2,"result":{}}`:                                 `"id" is there twice`,
		`{"jsonrpc":"2.0","id":1,"result":{},"\u0072esult":{}}`:                       "twice",
		`{"jsonrpc":"2.0","id":1,"result":[]}`:                                        "result: not an object",
		`{"jsonrpc":"2.0","id":1,"result":null}`:                                      "result: not an object",
		`{"jsonrpc":"2.0","id":1,"result":{"resultType":"a","resultType":"b"}}`:       "result: \"resultType\" is there twice",
		`{"jsonrpc":"2.0","id":1,"error":"no"}`:                                       "error: not an object",
		`{"jsonrpc":"2.0","id":1,"error":{"message":"no"}}`:                           "error: code",
		`{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"no"}}`:                "error: code",
		`{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":"no"}}`:                "error: code",
		`{"jsonrpc":"2.0","id":1,"error":{"code":1,"code":-32603,"message":"no"}}`:    "error: \"code\" is there twice",
		`{"jsonrpc":"2.0","id":1,"error":{"code":99999999999999999999,"message":""}}`: "error: code",
	}
	for text, want := range tests {
		if _, err := idempotency.ParseMessage([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id, asked string
		want      bool
	}{
		{`1`, `1`, true}, {`1`, `2`, false}, {`1`, `"1"`, false}, {`"1"`, `1`, false}, {`"a"`, `"a"`, true},
		{`"a"`, `"\u0061"`, true}, {`"a\/b"`, `"a/b"`, true}, {`"a"`, `"A"`, false}, {`1.0`, `1`, true}, {`1e2`, `100`, true},
		{`-7`, `-7`, true}, {`null`, `null`, false}, {`null`, `1`, false}, {`""`, `""`, true}, {`1`, ``, false},
	}
	for _, test := range tests {
		m := parse(t, `{"jsonrpc":"2.0","id":`+test.id+`,"result":{}}`)
		if got := m.Answers([]byte(test.asked)); got != test.want {
			t.Errorf("%s answers %s: %v", test.id, test.asked, got)
		}
	}
	for _, other := range []string{
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"result":{}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}`,
	} {
		if parse(t, other).Answers([]byte("1")) {
			t.Errorf("%s is taken for an answer", other)
		}
	}
}

func TestReplayHasTheNewID(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		`{"jsonrpc":"2.0","id":1,"result":{ "content" : [ {"type":"text","text":"}\",\"id\":9"} ], "n":12345678901234567890.10 }}`:              `{"jsonrpc":"2.0","id":"neu","result":{ "content" : [ {"type":"text","text":"}\",\"id\":9"} ], "n":12345678901234567890.10 }}`,
		"\n{ \"error\" : {\"code\":-32602,\"message\":\"\\u00e4\",\"data\":[[],{}]} ,\t\"id\" : 1 , \"extra\":[1,2], \"jsonrpc\":\"2.0\" }\r\n": `{"jsonrpc":"2.0","id":"neu","error":{"code":-32602,"message":"\u00e4","data":[[],{}]}}`,
	}
	for text, want := range tests {
		got, err := idempotency.AppendReplay(nil, []byte(`"neu"`), parse(t, text).Response(200))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	good := &idempotency.Response{Status: 200, Body: []byte("{}")}
	for _, id := range []string{"", "null", "true", "{}", "[1]", `1,"result":{}`, `"a`, `"` + strings.Repeat("a", 1024) + `"`} {
		if got, err := idempotency.AppendReplay(nil, []byte(id), good); err == nil {
			t.Errorf("id %.40s: %s", id, got)
		}
	}
	if got, err := idempotency.AppendReplay(nil, []byte("1"), &idempotency.Response{Status: 200}); err == nil {
		t.Errorf("no body: %s", got)
	}
}

// FuzzParseMessage holds the parser to encoding/json, and a replay to the
// response that it repeats.
func FuzzParseMessage(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a\"}"}],"isError":true}}`,
		`{"jsonrpc":"2.0","id":"a\\\"","error":{"code":-32603,"message":"{[\"","data":[1,[2,{"a":null}]]}}`,
		` { "id" : -1.5e3 , "result" : { "resultType" : "input_required" } , "jsonrpc" : "2.0" } `,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"\u0072esultType":"x"}}`,
		`[1,2]`, `{}`, `{"a":1,"a":2}`, `"`, `{"jsonrpc":"2.0","id":null,"error":{"code":1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := idempotency.ParseMessage(data)
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("accepted: %v", err)
		}
		if want["method"] != nil {
			return
		}
		body, other := want["result"], "result"
		r := m.Response(200)
		if r.Error {
			body, other = want["error"], "error"
		}
		if string(body) != string(r.Body) {
			t.Fatalf("%s is %s, want %s", other, r.Body, body)
		}
		replay, err := idempotency.AppendReplay(nil, []byte("7"), r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := idempotency.ParseMessage(replay)
		if err != nil || !again.Answers([]byte("7")) {
			t.Fatalf("replay %s: %v", replay, err)
		}
		if diff := cmp.Diff(r, again.Response(200)); diff != "" {
			t.Fatalf("replay (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkParseMessage(b *testing.B) {
	data := []byte(`{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 200) + `"}],"isError":false}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := idempotency.ParseMessage(data); err != nil {
			b.Fatal(err)
		}
	}
}
