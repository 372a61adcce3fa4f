package operation_test

import (
	"cmp"
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/sallyport/sallyport/authz/operation"
)

func canonical(tb testing.TB, src string) string {
	tb.Helper()
	got, err := operation.CanonicalJSON(nil, []byte(src))
	if err != nil {
		tb.Fatalf("%s: %v", src, err)
	}
	return string(got)
}

func TestCanonicalJSON(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, src, want string }{
		{"words", " [ null , true , false ] ", "[null,true,false]"},
		{"empty", "{ \"a\" : { } , \"b\" : [\n] }", `{"a":{},"b":[]}`},
		{"RFC 8785 §3.2.2, but for its first number, which a double can't hold", `{
			"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
			"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
			"literals": [null, true, false] }`,
			`{"literals":[null,true,false],"numbers":[333333333.33333329,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{"RFC 8785 §3.2.3", `{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
			"\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\"," +
				"\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		{"members inside members", `{"b":[{"d":1,"c":2}],"a":{"z":{},"y":{"x":0,"w":0}},"":0}`, `{"":0,"a":{"y":{"w":0,"x":0},"z":{}},"b":[{"c":2,"d":1}]}`},
		{"all short escapes", `"\b\t\n\f\r\"\\\/"`, `"\b\t\n\f\r\"\\/"`},
		{"no needless escapes", `"\u003c\u2028\u007f\u00e9"`, "\"<\u2028\u007fé\""},
		{"a control", `"\u001F\u0000"`, `"\u001f\u0000"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := canonical(t, tc.src)
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if again := canonical(t, got); again != got {
				t.Errorf("the canonical form of the canonical form is %s", again)
			}
		})
	}
}

// A number is its exact value, however it is written, and no digit is lost.
func TestCanonicalNumbers(t *testing.T) {
	t.Parallel()
	for want, sources := range map[string]string{
		"0":                     "0 -0 0.0 -0.000 0e0 0E+7 0.0e-7",
		"1":                     "1 1.0 1e0 10e-1 0.1e1 1E+0 100e-2",
		"-1":                    "-1 -1.00 -10e-1",
		"10":                    "10 1e1 1E1 10.0",
		"1.5":                   "1.5 1.50 15e-1",
		"0.1":                   "0.1 1e-1 0.10",
		"123456789012345678":    "123456789012345678 123456789012345678.0",
		"123456789012345679":    "123456789012345679",
		"9007199254740993":      "9007199254740993 9007199254740993.0",
		"0.30000000000000004":   "0.30000000000000004",
		"100000000000000000000": "1e20 100000000000000000000",
		"1e+21":                 "1e21 1000000000000000000000",
		"1.5e+21":               "1.5e21 1500000000000000000000",
		"0.000001":              "1e-6 0.000001",
		"1e-7":                  "1e-7 0.0000001",
		"-1.25e-7":              "-1.25e-7 -0.000000125",
		"1e+400":                "1e400",
		"1e-307":                "1e-307",
		"4.4e-323":              "4.4e-323",
	} {
		for source := range strings.FieldsSeq(sources) {
			if got := canonical(t, source); got != want {
				t.Errorf("%s became %s, want %s", source, got, want)
			}
		}
	}
}

// Where a double holds a number by its shortest digits, the form is that of
// ECMAScript, which encoding/json writes too.
func TestCanonicalNumbersAreECMAScript(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	values := []float64{0, 1, -1, 5e-324, math.MaxFloat64, 9007199254740992, 295147905179352830000, 1e21, 1e23, 999999999999999900000, 1e-6, 9.999999999999997e-7}
	for range 10_000 {
		if f := math.Float64frombits(random.Uint64()); !math.IsNaN(f) && !math.IsInf(f, 0) {
			values = append(values, f, float64(random.IntN(1_000_000))/1000)
		}
	}
	for _, f := range values {
		text, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := canonical(t, string(text)); got != string(text) {
			t.Errorf("%s became %s", text, got)
		}
	}
}

// Members are sorted by the UTF-16 code units of their names.
func TestCanonicalOrder(t *testing.T) {
	t.Parallel()
	alphabet := []rune("a\u007f\u0080\u07ff\u0800\ud7ff\ue000\uee00\uefff\uf000\uffff\U00010000\U0010ffff")
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		members := map[string]int{}
		for range 2 + random.IntN(6) {
			name := make([]rune, random.IntN(4))
			for i := range name {
				name[i] = alphabet[random.IntN(len(alphabet))]
			}
			members[string(name)] = 0
		}
		src, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(strings.NewReader(canonical(t, string(src))))
		var names []string
		for depth := 0; ; {
			token, err := decoder.Token()
			if err != nil {
				break
			}
			if name, ok := token.(string); ok && depth == 1 {
				names = append(names, name)
			} else if token == json.Delim('{') {
				depth++
			}
		}
		inOrder := slices.IsSortedFunc(names, func(a, b string) int {
			return slices.CompareFunc(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)), cmp.Compare[uint16])
		})
		if len(names) != len(members) || !inOrder {
			t.Fatalf("%+q are not in order", names)
		}
	}
}

func TestCanonicalJSONRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ src, want string }{
		{``, "unexpected end"},
		{`{"a":1,"a":1}`, `member "a" twice`},
		{`{"a":1,"\u0061":2}`, `member "a" twice`},
		{`[1,]`, "unexpected character"},
		{`[1 2]`, "comma or bracket expected"},
		{`{"a" 1}`, "colon expected"},
		{`{"a":1 "b":1}`, "comma or brace expected"},
		{`{a:1}`, "member name expected"},
		{`[nul]`, "unexpected character"},
		{`"a`, "unexpected end"},
		{"\"\t\"", "control character"},
		{`"\x"`, "invalid escape"},
		{`"\`, "invalid escape"},
		{`"\u12g4"`, "invalid escape"},
		{`"\ud800\u0041"`, "invalid escape"},
		{`"\ud800x"`, "invalid escape"},
		{`"\udc00"`, "invalid escape"},
		{"\"\xc0\xaf\"", "invalid UTF-8"},
		{"\ufeff1", "byte order mark"},
		{`+1`, "unexpected character"},
		{`-`, "invalid number"},
		{`01`, "invalid number"},
		{`1.`, "invalid number"},
		{`1e`, "invalid number"},
		{`NaN`, "unexpected character"},
		{`1 1`, "data after"},
		{`1e401`, "number out of bounds"},
		{`1e-401`, "number out of bounds"},
		{`0e999`, "number out of bounds"},
		{`1e99999999999999999999`, "number out of bounds"},
		{strings.Repeat("1", 101), "number out of bounds"},
		{"0." + strings.Repeat("0", 300), "number out of bounds"},
		{`7.00000000000000000001`, "more digits than a double"},
		{strings.Repeat("[", 65) + strings.Repeat("]", 65), "nested too deeply"},
		{strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), "nested too deeply"},
	} {
		if got, err := operation.CanonicalJSON(nil, []byte(tc.src)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %s, %v, want the error %q", tc.src, got, err, tc.want)
		}
	}
}

// sameValue compares two decoded JSON texts, numbers by their exact value.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, value := range a {
			other, ok := b[name]
			if !ok || !sameValue(value, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameValue)
	case json.Number:
		b, ok := b.(json.Number)
		x, okX := new(big.Rat).SetString(a.String())
		y, okY := new(big.Rat).SetString(b.String())
		return ok && okX && okY && x.Cmp(y) == 0
	}
	return a == b
}

func decodeJSON(tb testing.TB, text string) any {
	tb.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		tb.Fatalf("encoding/json can't read %q: %v", text, err)
	}
	return v
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, seed := range []string{
		`{"b":1.50,"a":[null,true,{"c":"\u00e9\n"}]}`, `-0`, `1e400`, `123456789012345678901234567890.12`, `"\ud83d\ude00"`,
		`{"\ue000":1,"\ud800\udc00":2}`, `[[[]]]`, `{"a":1,"a":2}`, "\xff", `{"":{"":{}}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<14 {
			t.Skip("too long")
		}
		form, err := operation.CanonicalJSON([]byte("kept"), []byte(src))
		if err != nil {
			return
		}
		text, ok := strings.CutPrefix(string(form), "kept")
		if !ok {
			t.Fatalf("%q lost what was there before", form)
		}
		value := decodeJSON(t, src)
		if !sameValue(value, decodeJSON(t, text)) {
			t.Fatalf("%q became another value: %q", src, text)
		}
		if again := canonical(t, text); again != text {
			t.Fatalf("%q is not stable: %q", text, again)
		}
		other, err := json.Marshal(value) // members sorted otherwise, other escapes
		if err != nil {
			t.Fatal(err)
		}
		if got := canonical(t, string(other)); got != text {
			t.Fatalf("%q and %q have two forms: %q, %q", src, other, text, got)
		}
	})
}
