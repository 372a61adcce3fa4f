package extauthz

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
)

// FuzzDecode compares with the generated decoder: what we accept it accepts,
// and both read the same.
func FuzzDecode(f *testing.F) {
	for _, m := range []*authv3.CheckRequest{
		{},
		{Attributes: &authv3.AttributeContext{
			Source: &authv3.AttributeContext_Peer{Certificate: "c", Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/s"}}}},
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Id: "i", Method: "POST", Path: "/p?q", Host: "h", Scheme: "https", Size: -1, Body: "text", Protocol: "HTTP/2",
				Headers: map[string]string{"a": "b"},
			}},
			ContextExtensions: map[string]string{ServerExtension: "s"},
		}},
		{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			RawBody:   []byte("body"),
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "k", RawValue: []byte("v")}, {Key: "k"}}},
		}}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decode(string(data))
		var want authv3.CheckRequest
		if err != nil {
			return
		}
		if err := proto.Unmarshal(data, &want); err != nil {
			return // it refuses invalid UTF-8 in strings, which Envoy does send
		}
		http := want.GetAttributes().GetRequest().GetHttp()
		source := want.GetAttributes().GetSource()
		text := []struct{ name, got, want string }{
			{"id", idOf(got), http.GetId()},
			{"method", got.Method, http.GetMethod()},
			{"path", got.Path, http.GetPath()},
			{"host", got.Authority, http.GetHost()},
			{"scheme", got.Scheme, http.GetScheme()},
			{"route", got.Route, want.GetAttributes().GetContextExtensions()[ServerExtension]},
			{"certificate", got.ClientCertificate, source.GetCertificate()},
			{"peer address", peerOf(got), source.GetAddress().GetSocketAddress().GetAddress()},
		}
		for _, x := range text {
			if (x.name == "peer address" || x.name == "id") && x.got == "" {
				continue
			}
			if x.got != x.want {
				t.Errorf("%s is %q, want %q", x.name, x.got, x.want)
			}
		}
		// Not compared for doubled header maps: protobuf merges them, and so do we.
		var lines operation.Headers
		for _, h := range http.GetHeaderMap().GetHeaders() {
			lines = append(lines, operation.Header{Name: h.GetKey()})
		}
		for _, line := range lines {
			if _, n := got.Headers.Get(line.Name); n == 0 {
				t.Errorf("header %q is lost", line.Name)
			}
		}
	})
}

// peerOf is the address of the peer, unless a header said better.
func peerOf(r *authz.Request) string {
	if _, lines := r.Headers.Get(headerExternalAddress); lines == 1 {
		return ""
	}
	return r.ClientAddress
}

// idOf is the id of the message, unless a header said better.
func idOf(r *authz.Request) string {
	if _, lines := r.Headers.Get(headerRequestID); lines == 1 {
		return ""
	}
	return r.ID
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	data, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id:        "10360267725712598873",
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: headerRequestID, RawValue: []byte("eadc55b9-5b21-4eb9-bd62-03ca0dec36a7")}}},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(string(data))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "eadc55b9-5b21-4eb9-bd62-03ca0dec36a7" {
		t.Errorf("the request's id is %q, want the one that everybody else logs", got.ID)
	}
}

func TestClientAddressBehindTrustedProxies(t *testing.T) {
	t.Parallel()
	data, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "10.0.0.1"}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: headerExternalAddress, RawValue: []byte("192.0.2.9")}}},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(string(data))
	if err != nil || got.ClientAddress != "192.0.2.9" {
		t.Errorf("client address %q, %v", got.ClientAddress, err)
	}
}

// FuzzWriter holds the length prefixes to the generated decoder.
func FuzzWriter(f *testing.F) {
	f.Add("name", "value")
	f.Fuzz(func(t *testing.T, name, value string) {
		var w writer
		ok := w.open(fieldOK)
		w.header(fieldOKHeaders, name, value)
		w.close(ok)
		metadata := w.open(fieldDynamicMetadata)
		w.member("x", value)
		w.close(metadata)
		var got authv3.CheckResponse
		if err := (proto.UnmarshalOptions{}).Unmarshal(w.buf, &got); err != nil {
			return // invalid UTF-8 in a string field
		}
		header := got.GetOkResponse().GetHeaders()[0].GetHeader()
		if header.GetKey() != name || header.GetValue() != value {
			t.Errorf("header %q: %q", header.GetKey(), header.GetValue())
		}
		if got.GetDynamicMetadata().GetFields()["x"].GetStringValue() != value {
			t.Error("metadata differs")
		}
	})
}
