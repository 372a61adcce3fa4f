// Package extproc processes exchanges for Envoy's ext_proc filter
// (envoy.service.ext_proc.v3.ExternalProcessor): it claims keys before a request
// goes on, keeps or repeats responses, and records outcomes.
package extproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/envoy/wire"
	"github.com/sallyport/sallyport/idempotency"
)

// Config bounds an exchange.
type Config struct {
	// MaxKept is the largest response that is kept for replays, in bytes. Of a
	// larger one it is only remembered that the request was executed.
	MaxKept int
	// StoreTimeout bounds each call of a store. The end of a response waits for at
	// most one.
	StoreTimeout time.Duration
}

// Journal takes the record of an outcome; see authz.Journal.
type Journal interface {
	Append(record []byte, class audit.Class) error
}

// Sessions remembers who opened an MCP session.
type Sessions interface {
	// Bind makes the session the principal's, for the life of the session.
	Bind(ctx context.Context, server, session, principal string) error
}

// Approval names the approval of one call.
type Approval struct {
	ID          string
	PrincipalID string
	Fingerprint [32]byte
	DecisionID  string // of the call that uses it
}

// ErrNotApproved says that an approval can't be used: it was spent, has ended, was
// revoked, or is for another call.
var ErrNotApproved = errors.New("not approved")

// Approvals are what exactly one exchange may use.
type Approvals interface {
	// Spend returns nil to one call only, ever, and only for the call that was
	// approved. After another error than ErrNotApproved nobody knows.
	Spend(ctx context.Context, a Approval) error
}

// Server is the ext_proc service.
type Server struct {
	cfg       Config
	claims    idempotency.Store
	slots     authz.Slots
	sessions  Sessions
	approvals Approvals
	journal   Journal
	metrics   *Metrics
	log       *slog.Logger
	now       func() time.Time

	background sync.WaitGroup // writes that are tried again
	retrying   atomic.Int64   // how many
	closing    chan struct{}
}

// NewServer returns the service.
func NewServer(cfg Config, claims idempotency.Store, slots authz.Slots, sessions Sessions, approvals Approvals, journal Journal, metrics *Metrics, log *slog.Logger, now func() time.Time) *Server {
	return &Server{
		cfg: cfg, claims: claims, slots: slots, sessions: sessions, approvals: approvals, journal: journal,
		metrics: metrics, log: log, now: now, closing: make(chan struct{}),
	}
}

// Close gives up what is tried again in the background. Call it once, after the
// last stream has ended.
func (s *Server) Close() {
	close(s.closing)
	s.background.Wait()
}

// Register adds the service to a gRPC server, which must use wire.Codec.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	extprocv3.RegisterExternalProcessorServer(registrar, s)
}

// errUnfinished ends a stream that had no last answer. It must never end with
// nil then: Envoy takes a clean end for "the rest is none of my business" and
// sends the request on, unprocessed (seen with failure_mode_allow: false).
var errUnfinished = status.Error(codes.Aborted, "the exchange is not finished")

// Process is the story of one exchange: each message is answered once, in order.
func (s *Server) Process(stream extprocv3.ExternalProcessor_ProcessServer) (err error) {
	x := &exchange{server: s, ctx: stream.Context(), started: s.now()}
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(x.ctx, "exchange failed", "panic", p, "decision_id", x.decisionID())
			err = status.Error(codes.Internal, "the exchange failed")
		}
		x.close()
		if err == nil && !x.finished {
			err = errUnfinished
		}
	}()
	for {
		request, metadata, err := receive(stream)
		if err != nil {
			return ended(err)
		}
		response, err := x.handle(request, metadata)
		if err != nil {
			s.log.ErrorContext(x.ctx, "exchange refused", "error", err, "decision_id", x.decisionID())
			return err
		}
		if err := stream.Send(response); err != nil {
			return ended(err)
		}
	}
}

// fieldMetadata is ProcessingRequest.metadata_context.
const fieldMetadata = 8

// receive returns the next message. Its metadata stays encoded: Envoy sends it
// with every message, and it would cost more to decode than all else.
func receive(stream grpc.ServerStream) (request *extprocv3.ProcessingRequest, metadata string, err error) {
	var received wire.Received
	if err := stream.RecvMsg(&received); err != nil {
		return nil, "", err
	}
	rest, metadata, err := wire.Split(received.Text, fieldMetadata)
	if err == nil {
		request = &extprocv3.ProcessingRequest{}
		err = proto.Unmarshal(rest, request)
	}
	if err != nil {
		return nil, "", status.Errorf(codes.InvalidArgument, "decode processing request: %v", err)
	}
	return request, metadata, nil
}

// ended is how a stream ends when Envoy ends it.
func ended(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}
