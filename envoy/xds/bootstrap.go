package xds

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"
)

// Bootstrap is the complete, static configuration of an Envoy. The number of
// worker threads is not part of it: that is Envoy's --concurrency.
func Bootstrap(cfg Config) (*bootstrapv3.Bootstrap, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	listener, err := listener(cfg)
	if err != nil {
		return nil, err
	}
	clusters, err := clusters(cfg)
	if err != nil {
		return nil, err
	}
	overload, err := overloadManager(cfg)
	if err != nil {
		return nil, err
	}
	bootstrap := &bootstrapv3.Bootstrap{
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{listener},
			Clusters:  clusters,
		},
		OverloadManager: overload,
	}
	if cfg.Admin != "" {
		address := cfg.Admin
		if path.IsAbs(address) {
			address = unixScheme + address
		}
		bootstrap.Admin = &bootstrapv3.Admin{Address: socketAddress(address)}
	}
	return bootstrap, nil
}

// JSON is the bootstrap as indented JSON with Envoy's field names. Its bytes
// depend on the bootstrap alone.
func JSON(b *bootstrapv3.Bootstrap) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("marshal bootstrap: %w", err)
	}
	// protojson varies its white space on purpose.
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return nil, fmt.Errorf("indent bootstrap: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// YAML is the bootstrap as YAML with Envoy's field names, sorted. Its bytes
// depend on the bootstrap alone.
func YAML(b *bootstrapv3.Bootstrap) ([]byte, error) {
	text, err := JSON(b)
	if err != nil {
		return nil, err
	}
	out, err := yaml.JSONToYAML(text)
	if err != nil {
		return nil, fmt.Errorf("convert bootstrap to YAML: %w", err)
	}
	return out, nil
}

// pack wraps a message for a typed_config, always into the same bytes.
func pack(message proto.Message) (*anypb.Any, error) {
	wrapped := new(anypb.Any)
	if err := anypb.MarshalFrom(wrapped, message, proto.MarshalOptions{Deterministic: true}); err != nil {
		return nil, fmt.Errorf("pack %T: %w", message, err)
	}
	return wrapped, nil
}
