package webhook

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func key(fill string) []byte { return []byte(strings.Repeat(fill, 32)[:32]) }

var at = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func signed(t *testing.T, keys ...[]byte) http.Header {
	t.Helper()
	header := http.Header{}
	if err := Sign(header, keys, "msg_1", at, []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	return header
}

// The values are those of an implementation of the specification that isn't ours.
func TestSignsAsOthersDo(t *testing.T) {
	t.Parallel()
	secret, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	header, body := http.Header{}, []byte(`{"test": 2432232314}`)
	if err := Sign(header, [][]byte{secret}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), body); err != nil {
		t.Fatal(err)
	}
	if got, want := header.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	body := `{"a":1}`
	for _, tt := range []struct {
		name   string
		change func(h http.Header, body *string, keys *[][]byte, now *time.Time)
		want   error
	}{
		{"as it was signed", func(http.Header, *string, *[][]byte, *time.Time) {}, nil},
		{"another key", func(_ http.Header, _ *string, keys *[][]byte, _ *time.Time) { *keys = [][]byte{key("b")} }, ErrSignature},
		{"another body", func(_ http.Header, body *string, _ *[][]byte, _ *time.Time) { *body = `{"a":2}` }, ErrSignature},
		{"no body", func(_ http.Header, body *string, _ *[][]byte, _ *time.Time) { *body = "" }, ErrSignature},
		{"another id", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Set(IDHeader, "msg_2") }, ErrSignature},
		{"another time", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Set(TimestampHeader, "1772357401") }, ErrSignature},
		{"a forged signature", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Set(SignatureHeader, "v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32)))
		}, ErrSignature},
		{"an empty signature", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Set(SignatureHeader, "v1,") }, ErrSignature},
		{"a part of the signature", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Set(SignatureHeader, h.Get(SignatureHeader)[:len("v1,")+8])
		}, ErrSignature},
		{"another version's", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Set(SignatureHeader, strings.Replace(h.Get(SignatureHeader), "v1,", "v1a,", 1))
		}, ErrSignature},
		{"others before it", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Set(SignatureHeader, "v1a,xyz v1,??? "+h.Get(SignatureHeader))
		}, nil},
		{"just old enough", func(_ http.Header, _ *string, _ *[][]byte, now *time.Time) { *now = at.Add(Tolerance) }, nil},
		{"old", func(_ http.Header, _ *string, _ *[][]byte, now *time.Time) { *now = at.Add(Tolerance + time.Second) }, ErrTimestamp},
		{"just early enough", func(_ http.Header, _ *string, _ *[][]byte, now *time.Time) { *now = at.Add(-Tolerance) }, nil},
		{"from the future", func(_ http.Header, _ *string, _ *[][]byte, now *time.Time) { *now = at.Add(-Tolerance - time.Second) }, ErrTimestamp},
		{"an absurd time", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Set(TimestampHeader, "9223372036854775807")
		}, ErrTimestamp},
		{"a time before all", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Set(TimestampHeader, "-1") }, ErrTimestamp},
		{"no number", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Set(TimestampHeader, "0x10") }, ErrHeaders},
		{"another spelling of the number", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Set(TimestampHeader, "+"+h.Get(TimestampHeader))
		}, ErrHeaders},
		{"no id", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Del(IDHeader) }, ErrHeaders},
		{"two ids", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Add(IDHeader, "msg_2") }, ErrHeaders},
		{"no time", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Del(TimestampHeader) }, ErrHeaders},
		{"no signature", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) { h.Del(SignatureHeader) }, ErrHeaders},
		{"two signature headers", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Add(SignatureHeader, h.Get(SignatureHeader))
		}, ErrHeaders},
		{"very many signatures", func(h http.Header, _ *string, _ *[][]byte, _ *time.Time) {
			h.Set(SignatureHeader, strings.Repeat("v1,x ", 1000)+h.Get(SignatureHeader))
		}, ErrHeaders},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header, body, keys, now := signed(t, key("a")), body, [][]byte{key("a")}, at
			tt.change(header, &body, &keys, &now)
			if err := Verify(keys, header, []byte(body), now, Tolerance); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// With the separator in an id, its part could become the time, and the time a part of
// the body: one signature for two notices.
func TestAnIDCannotReachIntoTheTime(t *testing.T) {
	t.Parallel()
	header := http.Header{}
	if err := Sign(header, [][]byte{key("a")}, "msg.1772357400", time.Unix(5, 0), []byte("x")); err == nil {
		t.Error("signed")
	}
	honest := http.Header{}
	if err := Sign(honest, [][]byte{key("a")}, "msg", at, []byte("1772357400.x")); err != nil {
		t.Fatal(err)
	}
	forged := honest.Clone()
	forged.Set(IDHeader, "msg."+honest.Get(TimestampHeader))
	forged.Set(TimestampHeader, "1772357400")
	if err := Verify([][]byte{key("a")}, forged, []byte("x"), at, Tolerance); !errors.Is(err, ErrHeaders) {
		t.Errorf("%v", err)
	}
}

// While keys are replaced, a receiver that has only one of them verifies.
func TestRotation(t *testing.T) {
	t.Parallel()
	header := signed(t, key("old"), key("new"))
	for _, known := range [][][]byte{{key("old")}, {key("new")}, {key("new"), key("old")}} {
		if err := Verify(known, header, []byte(`{"a":1}`), at, Tolerance); err != nil {
			t.Errorf("%q: %v", known, err)
		}
	}
	if err := Verify([][]byte{key("other")}, header, []byte(`{"a":1}`), at, Tolerance); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
}

// Without a key everything would verify, or with an empty one what anybody can sign.
func TestWeakKeys(t *testing.T) {
	t.Parallel()
	for _, keys := range [][][]byte{nil, {nil}, {key("a"), []byte("short")}} {
		if err := Sign(http.Header{}, keys, "msg_1", at, nil); err == nil {
			t.Errorf("%q: signed", keys)
		}
		if err := Verify(keys, signed(t, key("a")), []byte(`{"a":1}`), at, Tolerance); err == nil {
			t.Errorf("%q: verified", keys)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("msg_1", "1772357400", "v1,xyz", "{}")
	f.Add("", "-1", "v1", "")
	f.Add("a.b", "99999999999999999999", " ", "x")
	f.Fuzz(func(t *testing.T, id, timestamp, signature, body string) {
		header := http.Header{IDHeader: {id}, TimestampHeader: {timestamp}, SignatureHeader: {signature}}
		if Verify([][]byte{key("a")}, header, []byte(body), at, Tolerance) == nil {
			t.Error("a forgery")
		}
	})
}
