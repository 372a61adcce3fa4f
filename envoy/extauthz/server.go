// Package extauthz answers Envoy's ext_authz checks
// (envoy.service.auth.v3.Authorization).
package extauthz

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/envoy/wire"
)

// Decider decides one request and never fails: what goes wrong is a denial.
type Decider interface {
	Decide(ctx context.Context, req *authz.Request) *authz.Decision
	// Refuse is the recorded denial of a message that is no request.
	Refuse(cause string) *authz.Decision
}

// Outcomes is told of each allowed request whose outcome comes with Envoy's access
// log, because it skips ext_proc.
type Outcomes interface {
	Expect(decided time.Time)
}

// Server is the ext_authz service.
type Server struct {
	decider  Decider
	outcomes Outcomes
	metrics  *Metrics
	log      *slog.Logger
}

// NewServer returns the service.
func NewServer(decider Decider, outcomes Outcomes, metrics *Metrics, log *slog.Logger) *Server {
	return &Server{decider: decider, outcomes: outcomes, metrics: metrics, log: log}
}

// Register adds the service to a gRPC server, which must use Codec.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	registrar.RegisterService(&grpc.ServiceDesc{
		ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: handleCheck}},
		Metadata:    authv3.Authorization_ServiceDesc.Metadata,
	}, s)
}

func handleCheck(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var q wire.Received
	if err := decode(&q); err != nil {
		return nil, err
	}
	return srv.(*Server).Check(ctx, &q), nil
}

// Check is the story of one request. It answers everything with a decision and
// never with a gRPC error, because then Envoy's failure_mode_allow would decide.
func (s *Server) Check(ctx context.Context, q *wire.Received) (a *wire.Sent) {
	defer func() {
		if p := recover(); p != nil {
			// Nobody above recovers, and one request must not end all others.
			s.log.ErrorContext(ctx, "check failed", "panic", p, "stack", string(debug.Stack()))
			d := s.decider.Refuse("error")
			s.metrics.observe(d)
			a = encode(&authz.Request{}, d)
		}
	}()
	req, err := decode(q.Text)
	if err != nil {
		s.log.ErrorContext(ctx, "check request not understood", "error", err)
		d := s.decider.Refuse("request")
		s.metrics.observe(d)
		return encode(&authz.Request{}, d)
	}
	d := s.decider.Decide(ctx, req)
	s.metrics.observe(d)
	if d.Allow && exchange(d) == "pass" {
		s.outcomes.Expect(d.Time)
	}
	if d.Fault != "" {
		s.log.ErrorContext(ctx, "decision failed", "decision_id", d.ID, "request_id", req.ID, "fault", d.Fault)
	}
	return encode(req, d)
}

func encode(req *authz.Request, d *authz.Decision) *wire.Sent {
	w := writer{buf: make([]byte, 0, 1536)}
	reply(&w, req, d)
	return &wire.Sent{Encoded: w.buf}
}
