package extproc

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sallyport/sallyport/idempotency"
)

// observed is what was seen of a response.
type observed struct {
	status   int
	flags    string // Envoy's RESPONSE_FLAGS, in their short form
	details  string // Envoy's RESPONSE_CODE_DETAILS: "via_upstream", or why there is no answer of the upstream's
	headers  []idempotency.Header
	size     int       // bytes of the body so far
	complete bool      // the end was seen
	digest   hash.Hash // SHA-256 of the body so far; nil before it

	body   *heldBody    // a body that is held back until it is stored; nil for events
	events *eventReader // events that pass as they come; nil for others
}

// seen is how much of the body there was, and was kept.
func (r *observed) seen() idempotency.Body {
	switch {
	case !r.complete:
		return idempotency.Cut
	case r.body != nil && r.body.over, r.events != nil && r.events.tooLarge:
		return idempotency.TooLarge
	}
	return idempotency.Whole
}

// bodyDigest is the SHA-256 of the body as the upstream sent it, in hexadecimal;
// empty if not all of it was seen.
func (r *observed) bodyDigest() string {
	if r.digest == nil || !r.complete {
		return ""
	}
	return hex.EncodeToString(r.digest.Sum(nil))
}

// message is the JSON-RPC message that answers the request; nil if none came.
func (r *observed) message(rpcID string) *idempotency.Message {
	if r.events != nil {
		return r.events.final
	}
	if rpcID == "" || r.seen() != idempotency.Whole {
		return nil
	}
	return answerTo(r.body.held, rpcID)
}

// answerTo parses a message, if it is one and answers the request.
func answerTo(data []byte, rpcID string) *idempotency.Message {
	m, err := idempotency.ParseMessage(data)
	if err != nil || !m.Answers([]byte(rpcID)) {
		return nil
	}
	return m
}

// toKeep is what a replay repeats of an executed request's response.
func (r *observed) toKeep(m *idempotency.Message) *idempotency.Response {
	if m != nil {
		return m.Response(r.status)
	}
	return &idempotency.Response{Status: r.status, Headers: r.headers, Body: r.body.held}
}

// openResponse decides how the response is treated.
func (x *exchange) openResponse(h *extprocv3.HttpHeaders, attributes map[string]*structpb.Struct) *extprocv3.ProcessingResponse {
	x.phase = answering
	r := &x.response
	envoy := attributes["envoy.filters.http.ext_proc"].GetFields()
	r.details = envoy["response.code_details"].GetStringValue()
	if int64(envoy["response.flags"].GetNumberValue())&retryLimitExceeded != 0 {
		r.flags = "URX"
	}
	contentType, session, length, chunked := "", "", -1, false
	lines := make([]idempotency.Header, 0, len(h.GetHeaders().GetHeaders()))
	for _, line := range h.GetHeaders().GetHeaders() {
		value := string(line.GetRawValue())
		switch line.GetKey() {
		case ":status":
			r.status, _ = strconv.Atoi(value) // Envoy's own; 0 is a status that nothing is known of
		case "mcp-session-id":
			session = value
		case "content-type":
			contentType = value
		case "content-length":
			length, _ = strconv.Atoi(value) // Envoy has checked it
		case "transfer-encoding":
			chunked = true
		}
		lines = append(lines, idempotency.Header{Name: line.GetKey(), Value: value})
	}
	r.headers = idempotency.RepeatableHeaders(lines)
	if x.meta.bindSession && session != "" {
		if answer := x.bindSession(session); answer != nil {
			return answer
		}
	}
	switch {
	case !x.claimed:
		x.phase = passing
	case x.meta.rpcID != "" && isEventStream(contentType):
		r.events = newEventReader(x.meta.rpcID, x.server.cfg.MaxKept)
	default:
		r.body = &heldBody{max: x.server.cfg.MaxKept, length: length, passes: length < 0 && !chunked}
	}
	if h.GetEndOfStream() {
		r.complete = true
		x.finish()
	}
	return continueResponseHeaders()
}

// retryLimitExceeded is the bit of Envoy's response flag URX: the details are
// about the last attempt of several.
const retryLimitExceeded = 1 << 15

func isEventStream(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// responseBody takes the next part of the body. What it lets pass it lets pass
// after the response is stored, so that a client that has seen the end can rely
// on a replay.
func (x *exchange) responseBody(chunk []byte, last bool) *extprocv3.ProcessingResponse {
	r := &x.response
	r.size += len(chunk)
	if r.digest == nil {
		r.digest = sha256.New()
	}
	_, _ = r.digest.Write(chunk) // a hash takes everything
	r.complete = last
	answer := continueResponseBody()
	if r.events != nil {
		if final := r.events.read(chunk); final && x.claimed {
			x.settle()
		}
	} else {
		whole := last || r.size == r.body.length // trailers may follow
		if pass, changed := r.body.add(chunk, whole); changed {
			answer = replaceResponseBody(pass)
		}
		if whole && !last && x.claimed {
			r.complete = true
			x.settle()
		}
	}
	if last {
		x.finish()
	}
	return answer
}

// responseTrailers takes the end of a response that has trailers.
func (x *exchange) responseTrailers() (*extprocv3.ProcessingResponse, error) {
	if body := x.response.body; body != nil && body.holds() {
		return nil, status.Error(codes.Internal, "trailers before the body's end")
	}
	x.response.complete = true
	x.finish()
	return continueResponseTrailers(), nil
}

// finish is the end of a response.
func (x *exchange) finish() {
	if x.claimed {
		x.settle()
	}
	x.finished = true
}

// heldBody holds a body back until its end, up to a size. That needs an end which
// comes with the body: a length, or chunks. Otherwise (HTTP/2, where trailers may
// be the end, and nothing can be added to the body any more when they come) only
// the end is held.
type heldBody struct {
	max    int
	length int  // that the header says; below 0: nothing
	passes bool // it is only copied
	held   []byte
	more   bool // held is more than one chunk
	over   bool // the body is longer: it passes, and is not kept
	whole  bool // all of it was seen
}

// holds reports whether something was kept back and never let go.
func (b *heldBody) holds() bool { return b.more && !b.passes && !b.over && !b.whole }

// add takes a chunk and returns what passes in its place, if not the chunk itself.
func (b *heldBody) add(chunk []byte, last bool) (pass []byte, changed bool) {
	switch {
	case b.over:
		return nil, false
	case len(b.held)+len(chunk) > b.max:
		b.over = true
		pass = append(b.held, chunk...)
		b.held = nil
		return pass, b.more && !b.passes
	case b.whole: // an empty end after all of it
		return nil, false
	case last && !b.more:
		b.held, b.whole = chunk, true // the usual case: one chunk
		return nil, false
	}
	b.held = append(b.held, chunk...)
	b.more, b.whole = true, last
	if b.passes {
		return nil, false
	}
	if last {
		return b.held, true
	}
	return nil, true
}

// The answers that let a message pass, or put something in its place.

func continueRequestHeaders() *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}}
}

func continueResponseHeaders() *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{}}}
}

func continueResponseBody() *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{}}}
}

func continueResponseTrailers() *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}}
}

func replaceResponseBody(body []byte) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{
		Response: &extprocv3.CommonResponse{
			BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: body}},
		},
	}}}
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
