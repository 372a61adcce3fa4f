package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// accessLog is one JSON line per request on standard output. The path comes
// without its query and no header that a client chooses is in it, because tokens
// must not reach a log. The decision's id comes from Check's metadata, which an
// allow and a denial both have.
func accessLog(cfg Config) ([]*accesslogv3.AccessLog, error) {
	if !cfg.AccessLog {
		return nil, nil
	}
	fields := map[string]string{
		"time":             "%START_TIME%",
		"request_id":       "%REQ(X-REQUEST-ID)%",
		"decision_id":      "%DYNAMIC_METADATA(" + extAuthzFilter + ":decision_id)%",
		"route":            "%ROUTE_NAME%",
		"method":           "%REQ(:METHOD)%",
		"path":             "%PATH(NQ)%",
		"protocol":         "%PROTOCOL%",
		"status":           "%RESPONSE_CODE%",
		"details":          "%RESPONSE_CODE_DETAILS%",
		"flags":            "%RESPONSE_FLAGS%",
		"client":           "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
		"upstream_cluster": "%UPSTREAM_CLUSTER%",
		"upstream_attempt": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
		"bytes_received":   "%BYTES_RECEIVED%",
		"bytes_sent":       "%BYTES_SENT%",
		"duration_ms":      "%DURATION%",
	}
	format := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(fields))}
	for name, operator := range fields {
		format.Fields[name] = structpb.NewStringValue(operator)
	}
	log, err := typedAccessLog("envoy.access_loggers.stdout", &streamv3.StdoutAccessLog{
		AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: format},
		}},
	})
	if err != nil {
		return nil, err
	}
	return []*accesslogv3.AccessLog{log}, nil
}
