package extauthz

import (
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
	"github.com/sallyport/sallyport/envoy/wire"
)

// The fields of envoy.service.auth.v3.CheckRequest that a decision needs, by
// their numbers. Decoding only these, without building the generated structs,
// saves more CPU than a whole decision costs (docs/decisions/0002).
const (
	fieldAttributes = 1 // CheckRequest.attributes

	fieldSource            = 1  // AttributeContext.source
	fieldRequest           = 4  // AttributeContext.request
	fieldContextExtensions = 10 // AttributeContext.context_extensions

	fieldPeerAddress     = 1 // Peer.address
	fieldPeerCertificate = 5 // Peer.certificate
	fieldSocketAddress   = 1 // Address.socket_address
	fieldSocketHost      = 2 // SocketAddress.address

	fieldHTTP = 2 // Request.http

	fieldHTTPID        = 1
	fieldHTTPMethod    = 2
	fieldHTTPHeaders   = 3 // map<string, string>; only without encode_raw_headers
	fieldHTTPPath      = 4
	fieldHTTPHost      = 5
	fieldHTTPScheme    = 6
	fieldHTTPSize      = 9
	fieldHTTPBody      = 11
	fieldHTTPRawBody   = 12
	fieldHTTPHeaderMap = 13 // HeaderMap; with encode_raw_headers

	fieldHeaderMapHeaders = 1
	fieldHeaderKey        = 1
	fieldHeaderValue      = 2
	fieldHeaderRawValue   = 3
)

// ServerExtension is the key in the check's context_extensions under which the
// proxy's configuration names the server that the matched route leads to, or
// NoServer, which can't be a server's name.
const (
	ServerExtension = "sallyport.server"
	NoServer        = "(none)"
)

// errNotHTTP is returned for a check without an HTTP request, such as one of
// the network filter.
var errNotHTTP = errors.New("the check has no HTTP request")

// decode reads a CheckRequest. The result refers to text, which is the whole
// message: one copy serves all strings.
func decode(text string) (*authz.Request, error) {
	req := &authz.Request{}
	req.Headers = make(operation.Headers, 0, 24)
	seenHTTP := false
	r := wire.Read(text)
	for r.Next() {
		if r.Num != fieldAttributes {
			continue
		}
		attributes := r.Nested()
		for attributes.Next() {
			switch attributes.Num {
			case fieldSource:
				r.Keep(decodeSource(attributes.Nested(), req))
			case fieldContextExtensions:
				key, value, err := wire.MapEntry(attributes.Nested())
				if key == ServerExtension {
					req.Route = value
				}
				r.Keep(err)
			case fieldRequest:
				request := attributes.Nested()
				for request.Next() {
					if request.Num == fieldHTTP {
						seenHTTP = true
						r.Keep(decodeHTTP(request.Nested(), req))
					}
				}
				r.Keep(request.Err())
			}
		}
		r.Keep(attributes.Err())
	}
	if r.Err() != nil {
		return nil, fmt.Errorf("decode check request: %w", r.Err())
	}
	if !seenHTTP {
		return nil, errNotHTTP
	}
	// The source is always the connection's peer. Behind trusted proxies
	// (envoy.xff_trusted_hops) the client's address is in this header, which
	// Envoy sets and a client can't.
	if address, lines := req.Headers.Get(headerExternalAddress); lines == 1 {
		req.ClientAddress = address
	}
	// The message's own id is only the number of a stream. What the client, the
	// upstream and Envoy's access log know is this header, which Envoy makes anew.
	if id, lines := req.Headers.Get(headerRequestID); lines == 1 {
		req.ID = id
	}
	return req, nil
}

const (
	headerExternalAddress = "x-envoy-external-address"
	headerRequestID       = "x-request-id"
)

func decodeSource(source wire.Reader, req *authz.Request) error {
	for source.Next() {
		switch source.Num {
		case fieldPeerCertificate:
			req.ClientCertificate = source.Text
		case fieldPeerAddress:
			address := source.Nested()
			for address.Next() {
				if address.Num != fieldSocketAddress {
					continue
				}
				socket := address.Nested()
				for socket.Next() {
					if socket.Num == fieldSocketHost {
						req.ClientAddress = socket.Text
					}
				}
				address.Keep(socket.Err())
			}
			source.Keep(address.Err())
		}
	}
	return source.Err()
}

func decodeHTTP(http wire.Reader, req *authz.Request) error {
	var size int64
	var body string
	for http.Next() {
		switch http.Num {
		case fieldHTTPID:
			req.ID = http.Text
		case fieldHTTPMethod:
			req.Method = http.Text
		case fieldHTTPPath:
			req.Path = http.Text
		case fieldHTTPHost:
			req.Authority = http.Text
		case fieldHTTPScheme:
			req.Scheme = http.Text
		case fieldHTTPSize:
			size = int64(http.Number) //nolint:gosec // -1 is what a client didn't say
		case fieldHTTPBody, fieldHTTPRawBody:
			body = http.Text
		case fieldHTTPHeaders:
			key, value, err := wire.MapEntry(http.Nested())
			req.Headers = append(req.Headers, operation.Header{Name: key, Value: value})
			http.Keep(err)
		case fieldHTTPHeaderMap:
			http.Keep(decodeHeaders(http.Nested(), req))
		}
	}
	req.Body = body
	req.BodyTruncated = size > int64(len(body))
	return http.Err()
}

func decodeHeaders(headerMap wire.Reader, req *authz.Request) error {
	for headerMap.Next() {
		if headerMap.Num != fieldHeaderMapHeaders {
			continue
		}
		var h operation.Header
		line := headerMap.Nested()
		for line.Next() {
			switch line.Num {
			case fieldHeaderKey:
				h.Name = line.Text
			case fieldHeaderValue, fieldHeaderRawValue: // Envoy sets one of them
				h.Value = line.Text
			}
		}
		req.Headers = append(req.Headers, h)
		headerMap.Keep(line.Err())
	}
	return headerMap.Err()
}
