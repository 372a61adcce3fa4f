// Package accesslog takes Envoy's gRPC access log
// (envoy.service.accesslog.v3.AccessLogService): the outcomes of the requests
// that skip ext_proc, off their path.
package accesslog

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport/sallyport/audit"
)

// Journal takes the record of an outcome; see authz.Journal.
type Journal interface {
	Append(record []byte) error
}

// Server is the access log service.
type Server struct {
	journal Journal
	pending *Pending
	log     *slog.Logger
	now     func() time.Time
	stop    chan struct{}
}

// NewServer returns the service.
func NewServer(journal Journal, pending *Pending, log *slog.Logger, now func() time.Time) *Server {
	return &Server{journal: journal, pending: pending, log: log, now: now, stop: make(chan struct{})}
}

// Stop ends all streams, which Envoy would hold for as long as it runs. It must
// be called once.
func (s *Server) Stop() { close(s.stop) }

// Register adds the service to a gRPC server.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	accesslogv3.RegisterAccessLogServiceServer(registrar, s)
}

// StreamAccessLogs records the outcomes of one Envoy until its stream ends or the
// service stops. There is nothing to answer: what is lost on the way is missed by
// Pending.
func (s *Server) StreamAccessLogs(stream accesslogv3.AccessLogService_StreamAccessLogsServer) error {
	ended := make(chan error, 1)
	go func() { ended <- s.record(stream) }()
	select {
	case err := <-ended:
		return err
	case <-s.stop:
		return status.Error(codes.Unavailable, "shutting down")
	}
}

// record goes on until nothing more can be received.
func (s *Server) record(stream accesslogv3.AccessLogService_StreamAccessLogsServer) error {
	buffer := make([]byte, 0, 512)
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		for _, entry := range message.GetHttpLogs().GetLogEntry() {
			outcome, ok := outcomeOf(entry, s.now())
			if !ok {
				continue
			}
			s.pending.arrived(outcome.DecisionID)
			buffer = outcome.Append(buffer[:0])
			if err := s.journal.Append(buffer); err != nil {
				s.log.ErrorContext(stream.Context(), "outcome not recorded", "error", err, "decision_id", outcome.DecisionID)
			}
		}
	}
}

// outcomeOf reads an entry. A request without a decision and one that was denied
// have no outcome.
func outcomeOf(entry *datav3.HTTPAccessLogEntry, now time.Time) (*audit.Outcome, bool) {
	common, response := entry.GetCommonProperties(), entry.GetResponse()
	decision := common.GetMetadata().GetFilterMetadata()["envoy.filters.http.ext_authz"].GetFields()
	flags := common.GetResponseFlags()
	id := decision["decision_id"].GetStringValue()
	if id == "" || flags.GetUnauthorizedDetails() != nil {
		return nil, false
	}
	return &audit.Outcome{
		DecisionID: id, Time: now, Source: "access_log",
		Status:  int(response.GetResponseCode().GetValue()),
		Details: response.GetResponseCodeDetails(), Flags: flagNames(flags),
		BytesIn:  int64(entry.GetRequest().GetRequestBodyBytes()), //nolint:gosec // a body's length
		BytesOut: int64(response.GetResponseBodyBytes()),          //nolint:gosec // a body's length
		Took:     common.GetDuration().AsDuration(),
	}, true
}

// flagNames spells flags as Envoy's %RESPONSE_FLAGS% does, for those that say how
// a request ended.
func flagNames(f *datav3.ResponseFlags) string {
	var names []string
	for _, flag := range [...]struct {
		set  bool
		name string
	}{
		{f.GetNoHealthyUpstream(), "UH"},
		{f.GetUpstreamConnectionFailure(), "UF"},
		{f.GetUpstreamOverflow(), "UO"},
		{f.GetNoRouteFound(), "NR"},
		{f.GetUpstreamRetryLimitExceeded(), "URX"},
		{f.GetNoClusterFound(), "NC"},
		{f.GetDurationTimeout(), "DT"},
		{f.GetDownstreamConnectionTermination(), "DC"},
		{f.GetFailedLocalHealthcheck(), "LH"},
		{f.GetUpstreamRequestTimeout(), "UT"},
		{f.GetLocalReset(), "LR"},
		{f.GetUpstreamRemoteReset(), "UR"},
		{f.GetUpstreamConnectionTermination(), "UC"},
		{f.GetRateLimited(), "RL"},
		{f.GetStreamIdleTimeout(), "SI"},
		{f.GetInvalidEnvoyRequestHeaders(), "IH"},
		{f.GetDownstreamProtocolError(), "DPE"},
		{f.GetUpstreamProtocolError(), "UPE"},
		{f.GetUpstreamMaxStreamDurationReached(), "UMSDR"},
		{f.GetOverloadManager(), "OM"},
		{f.GetDnsResolutionFailure(), "DF"},
	} {
		if flag.set {
			names = append(names, flag.name)
		}
	}
	return strings.Join(names, ",")
}
