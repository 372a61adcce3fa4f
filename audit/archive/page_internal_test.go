package archive

import (
	"cmp"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// FuzzDecodePage reads what a server lists: keys come back as they were, or as an
// error, and in order.
func FuzzDecodePage(f *testing.F) {
	f.Add("a", "b", true, false)
	f.Add("%zz", "\x00", true, true)
	f.Add("a b+c%", "", false, true)
	f.Fuzz(func(t *testing.T, first, second string, encoded, broken bool) {
		out := &s3.ListObjectVersionsOutput{IsTruncated: aws.Bool(true)}
		encode := func(key string) *string { return &key }
		if encoded {
			out.EncodingType = types.EncodingTypeUrl
			if !broken {
				encode = func(key string) *string { return aws.String(url.QueryEscape(key)) }
			}
		}
		out.Versions = []types.ObjectVersion{{Key: encode(second)}, {Key: encode(first), LastModified: aws.Time(time.Unix(1, 0)), IsLatest: aws.Bool(true)}}
		out.DeleteMarkers = []types.DeleteMarkerEntry{{Key: encode(first), LastModified: aws.Time(time.Unix(2, 0))}, {}}
		out.NextKeyMarker = encode(first)
		p, err := decodePage(out)
		if err != nil {
			if first != "" && (!encoded || !broken) {
				t.Errorf("%q, %q: %v", first, second, err)
			}
			return
		}
		if !slices.IsSortedFunc(p.versions, func(a, b Version) int { return cmp.Compare(a.Key, b.Key) }) || len(p.versions) != 4 {
			t.Errorf("out of order: %+v", p.versions)
		}
		if encoded && broken {
			return
		}
		has := func(key string) bool {
			return slices.ContainsFunc(p.versions, func(v Version) bool { return v.Key == key })
		}
		if !has(first) || !has(second) || p.nextKey != first {
			t.Errorf("%q, %q: %+v", first, second, p)
		}
	})
}

// FuzzParseKey: what is taken for a key can stand in an HTTP header.
func FuzzParseKey(f *testing.F) {
	f.Add("AKIAEXAMPLE\n")
	f.Add("two lines\nof text")
	f.Add("\x00")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseKey(text)
		if err != nil {
			return
		}
		if key == "" || slices.ContainsFunc([]byte(key), func(b byte) bool { return b <= ' ' || b > '~' }) {
			t.Errorf("%q became %q", text, key)
		}
	})
}
