package accesslog

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/envoy/wire"
)

// noon is the time in the ids below.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

const noonID = "019ca945-0a00-7000-8000-000000000001" // of noon

type chanJournal chan []byte

func (j chanJournal) Append(record []byte, _ audit.Class) error {
	j <- append([]byte(nil), record...)
	if len(record) > 4096 {
		return errors.New("too large")
	}
	return nil
}

func entry(t testing.TB, id string, flags *datav3.ResponseFlags) *datav3.HTTPAccessLogEntry {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{"decision_id": id, "exchange": "pass"})
	if err != nil {
		t.Fatal(err)
	}
	return &datav3.HTTPAccessLogEntry{
		CommonProperties: &datav3.AccessLogCommon{
			Metadata:      &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"envoy.filters.http.ext_authz": s}},
			ResponseFlags: flags, Duration: durationpb.New(12 * time.Millisecond),
		},
		Request:  &datav3.HTTPRequestProperties{RequestBodyBytes: 150},
		Response: &datav3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(200), ResponseCodeDetails: "via_upstream", ResponseBodyBytes: 300},
	}
}

func TestOutcomesAreRecorded(t *testing.T) {
	t.Parallel()
	journal := make(chanJournal, 10)
	pending := NewPending(prometheus.NewRegistry(), noon)
	server := grpc.NewServer(grpc.ForceServerCodecV2(wire.NewCodec()))
	service := NewServer(journal, pending, slog.New(slog.DiscardHandler), noon)
	service.Register(server)
	listener := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Stop(); <-served }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := accesslogv3.NewAccessLogServiceClient(conn).StreamAccessLogs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pending.Expect(noon())
	denied := &datav3.ResponseFlags{UnauthorizedDetails: &datav3.ResponseFlags_Unauthorized{}}
	err = stream.Send(&accesslogv3.StreamAccessLogsMessage{LogEntries: &accesslogv3.StreamAccessLogsMessage_HttpLogs{
		HttpLogs: &accesslogv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: []*datav3.HTTPAccessLogEntry{
			{}, entry(t, "denied", denied),
			entry(t, noonID, &datav3.ResponseFlags{UpstreamConnectionFailure: true, DownstreamConnectionTermination: true}),
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(<-journal, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "event_id")
	want := map[string]any{
		"timestamp": "2026-03-01T12:00:00.000000Z", "event_type": "outcome", "status": "succeeded",
		"metadata": map[string]any{
			"decision_id": noonID, "source": "access_log", "http_status": 200.0, "details": "via_upstream", "flags": "UF,DC",
			"bytes_in": 150.0, "bytes_out": 300.0, "duration_us": 12000.0,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(journal) != 0 {
		t.Errorf("a denial or an entry without a decision was recorded: %s", <-journal)
	}
	if n := pending.counts[minuteOf(noon())%buckets].Load(); n != 0 {
		t.Errorf("%d outcomes are still awaited", n)
	}

	service.Stop() // though the client's stream goes on
	server.GracefulStop()
	if _, err := stream.CloseAndRecv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
	service.Wait()
}

// FuzzDecode reads what isn't an entry.
func FuzzDecode(f *testing.F) {
	for _, flags := range []*datav3.ResponseFlags{nil, {UpstreamOverflow: true}, {UnauthorizedDetails: &datav3.ResponseFlags_Unauthorized{}}} {
		encoded, err := proto.Marshal(entry(f, noonID, flags))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(encoded))
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		var o audit.Outcome
		if _, err := decode(encoded, &o); err != nil {
			return
		}
		if record := o.Append(nil); !json.Valid(record) {
			t.Errorf("record %s", record)
		}
	})
}

func TestPending(t *testing.T) {
	t.Parallel()
	now := noon()
	p := NewPending(prometheus.NewRegistry(), func() time.Time { return now })
	for range 3 {
		p.Expect(now)
	}
	p.arrived(noonID)
	p.arrived("not an id")
	want := func(n int64) {
		t.Helper()
		if got := p.Unknown(); got != n {
			t.Errorf("%v: %d unknown, want %d", now.Sub(noon()), got, n)
		}
	}
	want(0)
	now = now.Add(patience + bucketWidth - time.Millisecond)
	want(0)
	now = now.Add(time.Millisecond)
	want(2)
	p.arrived(noonID) // late
	want(1)
	now = now.Add(24 * time.Hour) // nobody asked for a day
	p.Expect(now)
	want(1)
	now = now.Add(patience + bucketWidth)
	want(2)
}

func TestTimeOf(t *testing.T) {
	t.Parallel()
	if got, ok := timeOf(noonID); !ok || !got.Equal(noon()) {
		t.Errorf("%v, %v", got, ok)
	}
	for _, id := range []string{"", "019ca945-0a00-4000-8000-000000000001", "zzzzzzzz-2c00-7000-8000-000000000001", noonID + "0"} {
		if _, ok := timeOf(id); ok {
			t.Errorf("%q has a time", id)
		}
	}
}
