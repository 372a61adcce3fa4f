package accesslog

import (
	"fmt"
	"strings"
	"time"

	datav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/envoy/wire"
)

// The fields that an outcome needs, by their numbers: of
// envoy.service.accesslog.v3.StreamAccessLogsMessage,
const (
	fieldHTTPLogs = 2
	fieldLogEntry = 1
)

// of envoy.data.accesslog.v3.HTTPAccessLogEntry and what it holds,
const (
	fieldCommon   = 1
	fieldRequest  = 3
	fieldResponse = 4

	fieldCommonFlags    = 16
	fieldCommonMetadata = 17
	fieldCommonDuration = 23

	fieldRequestBodyBytes = 12

	fieldResponseCode      = 1
	fieldResponseBodyBytes = 3
	fieldResponseDetails   = 6
)

// and of google.protobuf.Duration.
const (
	fieldSeconds = 1
	fieldNanos   = 2
)

// eachEntry calls back for each HTTPAccessLogEntry of a message, until one fails.
func eachEntry(message string, do func(entry string) error) error {
	r := wire.Read(message)
	for r.Next() {
		if r.Num != fieldHTTPLogs {
			continue
		}
		logs := r.Nested()
		for logs.Next() {
			if logs.Num == fieldLogEntry {
				logs.Keep(do(logs.Text))
			}
		}
		r.Keep(logs.Err())
	}
	return r.Err()
}

// decode reads an entry into an outcome. Without a decision, and if it was
// denied, there is none.
func decode(text string, o *audit.Outcome) (denied bool, err error) {
	entry := wire.Read(text)
	for entry.Next() {
		switch entry.Num {
		case fieldCommon:
			refused, err := decodeCommon(entry.Nested(), o)
			denied = denied || refused
			entry.Keep(err)
		case fieldRequest:
			request := entry.Nested()
			for request.Next() {
				if request.Num == fieldRequestBodyBytes {
					o.BytesIn = int64(request.Number) //nolint:gosec // a body's length
				}
			}
			entry.Keep(request.Err())
		case fieldResponse:
			entry.Keep(decodeResponse(entry.Nested(), o))
		}
	}
	if err := entry.Err(); err != nil {
		return false, fmt.Errorf("decode access log entry: %w", err)
	}
	return denied, nil
}

func decodeCommon(common wire.Reader, o *audit.Outcome) (denied bool, err error) {
	for common.Next() {
		switch common.Num {
		case fieldCommonMetadata:
			decision, err := wire.FilterMetadata(common.Text, "envoy.filters.http.ext_authz")
			o.DecisionID = decision["decision_id"]
			common.Keep(err)
		case fieldCommonDuration:
			common.Keep(decodeDuration(common.Nested(), o))
		case fieldCommonFlags:
			if common.Text == "" {
				continue // nearly always
			}
			var flags datav3.ResponseFlags
			common.Keep(proto.Unmarshal([]byte(common.Text), &flags))
			denied, o.Flags = flags.GetUnauthorizedDetails() != nil, flagNames(&flags)
		}
	}
	return denied, common.Err()
}

func decodeResponse(response wire.Reader, o *audit.Outcome) error {
	for response.Next() {
		switch response.Num {
		case fieldResponseCode:
			code := response.Nested()
			for code.Next() {
				o.Status = int(code.Number) //nolint:gosec // a uint32
			}
			response.Keep(code.Err())
		case fieldResponseBodyBytes:
			o.BytesOut = int64(response.Number) //nolint:gosec // a body's length
		case fieldResponseDetails:
			o.Details = response.Text
		}
	}
	return response.Err()
}

func decodeDuration(duration wire.Reader, o *audit.Outcome) error {
	for duration.Next() {
		switch duration.Num {
		case fieldSeconds:
			o.Took += time.Duration(duration.Number) * time.Second //nolint:gosec // what a request took
		case fieldNanos:
			o.Took += time.Duration(duration.Number) //nolint:gosec // below a second
		}
	}
	return duration.Err()
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
