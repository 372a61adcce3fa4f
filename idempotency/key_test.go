package idempotency_test

import (
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/idempotency"
)

// TestKeysStay holds the keys to what earlier releases stored.
func TestKeysStay(t *testing.T) {
	t.Parallel()
	key := idempotency.KeyOf("principal", "key")
	if got, want := hex.EncodeToString(key[:]), "e498e79d7e2b6dfe19feefb62a1cf0a7edd7661e0bc5e4ff8e4aaa55b92f55e2"; got != want {
		t.Errorf("KeyOf: %s, want %s", got, want)
	}
	key = idempotency.DerivedKey("principal", [32]byte{1})
	if got, want := hex.EncodeToString(key[:]), "16b3f1d74065265cdffb32f3aadfa1809ed04c584cdb55d0fc82a22fe0d9d094"; got != want {
		t.Errorf("DerivedKey: %s, want %s", got, want)
	}
}

func TestKeysAreApart(t *testing.T) {
	t.Parallel()
	fingerprint := [32]byte([]byte("0123456789abcdefghijklmnopqrstuv"))
	seen := make(map[idempotency.Key]string)
	for what, key := range map[string]idempotency.Key{
		"a, bc":               idempotency.KeyOf("a", "bc"),
		"ab, c":               idempotency.KeyOf("ab", "c"),
		"abc, nothing":        idempotency.KeyOf("abc", ""),
		"nothing, abc":        idempotency.KeyOf("", "abc"),
		"long":                idempotency.KeyOf(strings.Repeat("a", 600), "c"),
		"longer":              idempotency.KeyOf(strings.Repeat("a", 601), "c"),
		"derived":             idempotency.DerivedKey("a", fingerprint),
		"derived for another": idempotency.DerivedKey("b", fingerprint),
		"chosen like derived": idempotency.KeyOf("a", string(fingerprint[:])),
		"derived for nothing": idempotency.DerivedKey("a", [32]byte{}),
	} {
		if other, ok := seen[key]; ok {
			t.Errorf("%s is %s", what, other)
		}
		seen[key] = what
	}
}

func TestParseHeader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 255)
	tests := []struct {
		value string
		lines int
		want  string // the key; empty: refused
		err   string
	}{
		{"8e03978e-40d5-43dd-bc93-6894a57f9324", 1, "8e03978e-40d5-43dd-bc93-6894a57f9324", ""},
		{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, 1, "8e03978e-40d5-43dd-bc93-6894a57f9324", ""},
		{` "abc" `, 1, "abc", ""},
		{"\tabc\t", 1, "abc", ""},
		{`"abc";v=1;w="x"`, 1, "abc", ""},
		{`"a,b;c"`, 1, "a,b;c", ""},
		{`"a\"b\\c"`, 1, `a"b\c`, ""},
		{"order:17/a+b==", 1, "order:17/a+b==", ""},
		{"k", 1, "k", ""},
		{long, 1, long, ""},
		{`"` + long + `"`, 1, long, ""},

		{"", 1, "", "empty"},
		{"  ", 1, "", "empty"},
		{`""`, 1, "", "0 characters"},
		{"abc", 2, "", "2 header lines"},
		{"abc, def", 1, "", "','"},
		{`"abc", "def"`, 1, "", "one string"},
		{"abc;v=1", 1, "", "';'"},
		{`ab"c`, 1, "", `'"'`},
		{`ab\c`, 1, "", `'\\'`},
		{`"abc`, 1, "", "one string"},
		{`"abc"x`, 1, "", "one string"},
		{`"a\bc"`, 1, "", "one string"},
		{"a b", 1, "", "visible"},
		{`"a b"`, 1, "", "visible"},
		{"a\x00b", 1, "", "visible"},
		{"a\x7fb", 1, "", "visible"},
		{"schlüssel", 1, "", "visible"},
		{`"schlüssel"`, 1, "", "one string"},
		{long + "k", 1, "", "256 characters"},
		{`"` + long + `k"`, 1, "", "256 characters"},
		{strings.Repeat("k", 1025), 1, "", "1024"},
	}
	for _, test := range tests {
		got, err := idempotency.ParseHeader(test.value, test.lines)
		if got != test.want || (err == nil) != (test.err == "") {
			t.Errorf("%.40q: got %.40q, %v", test.value, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), test.err) || !strings.HasPrefix(err.Error(), "Idempotency-Key: ")) {
			t.Errorf("%.40q: got %v, want %q", test.value, err, test.err)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"abc";a=1`, `"a\"b"`, "a,b", `"`, "", "\x00", strings.Repeat("k", 300)} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, value string, lines int) {
		key, err := idempotency.ParseHeader(value, lines)
		if err != nil {
			if key != "" {
				t.Errorf("%q: refused, and yet %q", value, key)
			}
			return
		}
		if lines > 1 || len(key) == 0 || len(key) > 255 {
			t.Errorf("%q: key %q", value, key)
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		if again, err := idempotency.ParseHeader(quoted, 1); again != key {
			t.Errorf("%s: got %q, %v, want %s", quoted, again, err, strconv.Quote(key))
		}
	})
}

func BenchmarkKeyOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = idempotency.KeyOf("lVHNH0uCj3cb4Jd2SZ4bWkQ5K8fQYd2V6u9rC0nQ3dE", "8e03978e-40d5-43dd-bc93-6894a57f9324")
	}
}
