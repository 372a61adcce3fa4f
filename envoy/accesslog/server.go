// Package accesslog takes Envoy's gRPC access log
// (envoy.service.accesslog.v3.AccessLogService): the outcomes of the requests
// that skip ext_proc, off their path.
package accesslog

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/envoy/wire"
)

// Journal takes records of outcomes, whole lines; see authz.Journal.
type Journal interface {
	Append(records []byte, class audit.Class) error
}

// Server is the access log service.
type Server struct {
	journal Journal
	pending *Pending
	log     *slog.Logger
	now     func() time.Time
	stop    chan struct{}

	recording sync.WaitGroup // streams that are read
}

// NewServer returns the service.
func NewServer(journal Journal, pending *Pending, log *slog.Logger, now func() time.Time) *Server {
	return &Server{journal: journal, pending: pending, log: log, now: now, stop: make(chan struct{})}
}

// Stop ends all streams, which Envoy would hold for as long as it runs. It must
// be called once.
func (s *Server) Stop() { close(s.stop) }

// Wait returns when the last outcome that was received is recorded. Call it when
// all streams have ended.
func (s *Server) Wait() { s.recording.Wait() }

// Register adds the service to a gRPC server, which must use wire.Codec.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	registrar.RegisterService(&grpc.ServiceDesc{
		ServiceName: accesslogv3.AccessLogService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "StreamAccessLogs", ClientStreams: true, Handler: func(srv any, stream grpc.ServerStream) error {
			return srv.(*Server).streamAccessLogs(stream)
		}}},
		Metadata: accesslogv3.AccessLogService_ServiceDesc.Metadata,
	}, s)
}

// streamAccessLogs records the outcomes of one Envoy until its stream ends or the
// service stops. There is nothing to answer: what is lost on the way is missed by
// Pending.
func (s *Server) streamAccessLogs(stream grpc.ServerStream) error {
	ended := make(chan error, 1)
	s.recording.Go(func() { ended <- s.record(stream) })
	select {
	case err := <-ended:
		return err
	case <-s.stop:
		return status.Error(codes.Unavailable, "shutting down")
	}
}

// record goes on until nothing more can be received.
func (s *Server) record(stream grpc.ServerStream) error {
	var message wire.Received
	var records []byte
	for {
		err := stream.RecvMsg(&message)
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		records = s.read(message.Text, records[:0])
		if len(records) == 0 {
			continue
		}
		if err := s.journal.Append(records, audit.Reserve); err != nil {
			s.log.ErrorContext(stream.Context(), "outcomes not recorded", "error", err)
		}
	}
}

// read appends the records of the outcomes in a StreamAccessLogsMessage.
func (s *Server) read(message string, records []byte) []byte {
	now := s.now()
	err := eachEntry(message, func(entry string) error {
		outcome := audit.Outcome{Time: now, Source: "access_log"}
		denied, err := decode(entry, &outcome)
		if err == nil && !denied && outcome.DecisionID != "" {
			s.pending.arrived(outcome.DecisionID)
			records = outcome.Append(records)
		}
		return err
	})
	if err != nil {
		s.log.Error("access log not understood", "error", err)
	}
	return records
}
