package idempotency

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResponseEncoding(t *testing.T) {
	t.Parallel()
	// What earlier releases stored.
	tests := map[string]*Response{
		"0100c80100":                       {Status: 200},
		"0101c801007b7d":                   {Status: 200, Body: []byte("{}"), Error: true},
		"0100c90102046574616701610001627a": {Status: 201, Headers: []Header{{"etag", "a"}, {"", "b"}}, Body: []byte("z")},
	}
	for encoded, r := range tests {
		if got := hex.EncodeToString(encodeResponse(r, 1000)); got != encoded {
			t.Errorf("%+v: %s, want %s", r, got, encoded)
		}
		b, err := hex.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeResponse(b)
		if err != nil {
			t.Errorf("%s: %v", encoded, err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", encoded, diff)
		}
	}
}

func TestResponsesThatAreNotRetained(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxHeaderValue+1)
	tests := map[string]*Response{
		"nil":          nil,
		"body":         {Status: 200, Body: make([]byte, 20_000)},
		"no status":    {},
		"status":       {Status: 1000},
		"negative":     {Status: -200},
		"headers":      {Status: 200, Headers: make([]Header, maxHeaders+1)},
		"header name":  {Status: 200, Headers: []Header{{Name: long[:maxHeaderName+1]}}},
		"header value": {Status: 200, Headers: []Header{{Value: long}}},
	}
	for name, r := range tests {
		if b := encodeResponse(r, 20_000); b != nil {
			t.Errorf("%s: %d bytes", name, len(b))
		}
	}
	fits := &Response{Status: 200, Headers: make([]Header, maxHeaders)}
	for i := range fits.Headers {
		fits.Headers[i] = Header{Name: long[:maxHeaderName], Value: long[:maxHeaderValue]}
	}
	got, err := decodeResponse(encodeResponse(fits, DefaultMaxResponse))
	if diff := cmp.Diff(fits, got); diff != "" || err != nil {
		t.Errorf("the most headers: %v (-want +got):\n%.500s", err, diff)
	}
}

func TestDecodeResponseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                             "cut short",
		"01":                           "cut short",
		"0100":                         "cut short",
		"0100c801":                     "cut short",
		"0100c80101":                   "cut short",
		"0100c8010105":                 "cut short",
		"0100c80101026162":             "cut short",
		"0200c80100":                   "version 2",
		"0102c80100":                   "flags",
		"01006300":                     "status 99",
		"0100e80700":                   "status 1000",
		"0100c80121":                   "33 headers",
		"0100c80101ff7f":               "header of 16383 bytes",
		"0100c801ffffffffffffffffff01": "headers",
		"0100ffffffffffffffffffff00":   "cut short",
	}
	for encoded, want := range tests {
		b, err := hex.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := decodeResponse(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", encoded, r, err, want)
		}
	}
}

// FuzzDecodeResponse wants whatever is accepted to be encoded to something that
// decodes to the same.
func FuzzDecodeResponse(f *testing.F) {
	f.Add(encodeResponse(&Response{Status: 200, Headers: []Header{{"content-type", "text/plain"}}, Body: []byte("body")}, 1000))
	f.Add([]byte{1, 0, 0xc8, 1, 0})
	f.Add([]byte{1, 0, 0xc8, 1, 1, 0xff, 0xff, 3})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeResponse(b)
		if err != nil {
			return
		}
		encoded := encodeResponse(r, 2*len(b)+1000)
		again, err := decodeResponse(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
