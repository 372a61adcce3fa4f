package wire_test

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sallyport/sallyport/envoy/wire"
)

func request(t testing.TB) *extprocv3.ProcessingRequest {
	t.Helper()
	said, err := structpb.NewStruct(map[string]any{"v": "1", "empty": "", "odd": 7.0})
	if err != nil {
		t.Fatal(err)
	}
	return &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: []byte("body"), EndOfStream: true}},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			"envoy.filters.http.ext_authz": said, "another": {},
		}},
		Attributes: map[string]*structpb.Struct{"envoy.filters.http.ext_proc": said},
	}
}

func encode(t testing.TB, m proto.Message) string {
	t.Helper()
	encoded, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func TestSplit(t *testing.T) {
	t.Parallel()
	want := request(t)
	rest, metadata, err := wire.Split(encode(t, want), 8)
	if err != nil {
		t.Fatal(err)
	}
	var got extprocv3.ProcessingRequest
	if err := proto.Unmarshal(rest, &got); err != nil {
		t.Fatal(err)
	}
	want.MetadataContext = nil
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	for filter, members := range map[string]map[string]string{
		"envoy.filters.http.ext_authz": {"v": "1", "empty": "", "odd": ""}, "another": {}, "nobody": nil,
	} {
		got, err := wire.FilterMetadata(metadata, filter)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(members, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filter, diff)
		}
	}
}

// FuzzSplit holds Split to the generated messages: without the field, nothing else
// is another.
func FuzzSplit(f *testing.F) {
	f.Add(encode(f, request(f)))
	f.Fuzz(func(t *testing.T, message string) {
		rest, metadata, err := wire.Split(message, 8)
		var want, got extprocv3.ProcessingRequest
		if proto.Unmarshal([]byte(message), &want) != nil || err != nil {
			return // either of them knows something that the other doesn't look at
		}
		if _, err := wire.FilterMetadata(metadata, "envoy.filters.http.ext_authz"); err != nil && want.GetMetadataContext() == nil {
			t.Errorf("no metadata, and %v", err)
		}
		if err := proto.Unmarshal(rest, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.GetResponseBody(), got.GetResponseBody(), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})
}
