package extauthz

import (
	"errors"
	"fmt"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/operation"
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

	fieldMapKey   = 1
	fieldMapValue = 2
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
	r := reader{rest: text}
	for r.next() {
		if r.num != fieldAttributes {
			continue
		}
		attributes := r.nested()
		for attributes.next() {
			switch attributes.num {
			case fieldSource:
				r.keep(decodeSource(attributes.nested(), req))
			case fieldContextExtensions:
				key, value, err := mapEntry(attributes.nested())
				if key == ServerExtension {
					req.Route = value
				}
				r.keep(err)
			case fieldRequest:
				request := attributes.nested()
				for request.next() {
					if request.num == fieldHTTP {
						seenHTTP = true
						r.keep(decodeHTTP(request.nested(), req))
					}
				}
				r.keep(request.err)
			}
		}
		r.keep(attributes.err)
	}
	if r.err != nil {
		return nil, fmt.Errorf("decode check request: %w", r.err)
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

func decodeSource(source reader, req *authz.Request) error {
	for source.next() {
		switch source.num {
		case fieldPeerCertificate:
			req.ClientCertificate = source.text
		case fieldPeerAddress:
			address := source.nested()
			for address.next() {
				if address.num != fieldSocketAddress {
					continue
				}
				socket := address.nested()
				for socket.next() {
					if socket.num == fieldSocketHost {
						req.ClientAddress = socket.text
					}
				}
				address.keep(socket.err)
			}
			source.keep(address.err)
		}
	}
	return source.err
}

func decodeHTTP(http reader, req *authz.Request) error {
	var size int64
	var body string
	for http.next() {
		switch http.num {
		case fieldHTTPID:
			req.ID = http.text
		case fieldHTTPMethod:
			req.Method = http.text
		case fieldHTTPPath:
			req.Path = http.text
		case fieldHTTPHost:
			req.Authority = http.text
		case fieldHTTPScheme:
			req.Scheme = http.text
		case fieldHTTPSize:
			size = int64(http.number) //nolint:gosec // -1 is what a client didn't say
		case fieldHTTPBody, fieldHTTPRawBody:
			body = http.text
		case fieldHTTPHeaders:
			key, value, err := mapEntry(http.nested())
			req.Headers = append(req.Headers, operation.Header{Name: key, Value: value})
			http.keep(err)
		case fieldHTTPHeaderMap:
			http.keep(decodeHeaders(http.nested(), req))
		}
	}
	req.Body = body
	req.BodyTruncated = size > int64(len(body))
	return http.err
}

func decodeHeaders(headerMap reader, req *authz.Request) error {
	for headerMap.next() {
		if headerMap.num != fieldHeaderMapHeaders {
			continue
		}
		var h operation.Header
		line := headerMap.nested()
		for line.next() {
			switch line.num {
			case fieldHeaderKey:
				h.Name = line.text
			case fieldHeaderValue, fieldHeaderRawValue: // Envoy sets one of them
				h.Value = line.text
			}
		}
		req.Headers = append(req.Headers, h)
		headerMap.keep(line.err)
	}
	return headerMap.err
}

func mapEntry(entry reader) (key, value string, err error) {
	for entry.next() {
		switch entry.num {
		case fieldMapKey:
			key = entry.text
		case fieldMapValue:
			value = entry.text
		}
	}
	return key, value, entry.err
}
