package xds

import (
	"time"

	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	fixedheapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	connectionsMonitor = "envoy.resource_monitors.global_downstream_max_connections"
	heapMonitor        = "envoy.resource_monitors.fixed_heap"

	// heapRefresh is how often the heap is measured. What arrives between two
	// measurements comes on top of Config.MaxHeapBytes.
	heapRefresh = 50 * time.Millisecond
	// trackedPower is the power of two from which on a stream's buffers count as
	// large: 8 KiB. Envoy has eight classes, each double the last, and resets the
	// highest first, so from 1 MiB on a stream is in the first class to go.
	trackedPower = 13
)

// overloadManager keeps strangers from filling the memory or the file
// descriptors: without it Envoy has no limit at all. Bodies are buffered before
// anybody is known, so what bounds them can't be a caller's right.
//
// The steps, by the part of Config.MaxHeapBytes in use:
//   - 0.75: HTTP/2 streams are reset, those with the largest buffers first and
//     small ones only near 0.95; free memory goes back to the system
//   - 0.90: new requests get 503
//   - 0.99: a connection that sends is closed. HTTP/1 streams can't be reset, and
//     what was accepted before still grows. The point is named after HTTP/2 but
//     holds for both (seen on 1.40, and tested). That for HTTP/1 alone answers 500
//     and doesn't bound the memory.
//
// Keep-alive stays on: an honest client would only connect again.
func overloadManager(cfg Config) (*overloadv3.OverloadManager, error) {
	connections, err := resourceMonitor(connectionsMonitor, &connectionsv3.DownstreamConnectionsConfig{
		MaxActiveDownstreamConnections: int64(cfg.MaxConnections),
	})
	if err != nil {
		return nil, err
	}
	heap, err := resourceMonitor(heapMonitor, &fixedheapv3.FixedHeapConfig{MaxHeapSizeBytes: cfg.MaxHeapBytes})
	if err != nil {
		return nil, err
	}
	shrink, err := pack(&overloadv3.ShrinkHeapConfig{
		TimerInterval:         durationpb.New(time.Second),
		MaxUnfreedMemoryBytes: wrapperspb.UInt64(cfg.MaxHeapBytes / 16),
	})
	if err != nil {
		return nil, err
	}
	return &overloadv3.OverloadManager{
		RefreshInterval:  durationpb.New(heapRefresh),
		ResourceMonitors: []*overloadv3.ResourceMonitor{connections, heap},
		BufferFactoryConfig: &overloadv3.BufferFactoryConfig{
			MinimumAccountToTrackPowerOfTwo: trackedPower,
		},
		Actions: []*overloadv3.OverloadAction{
			{Name: "envoy.overload_actions.shrink_heap", Triggers: heapAbove(0.75), TypedConfig: shrink},
			{Name: "envoy.overload_actions.reset_high_memory_stream", Triggers: heapBetween(0.75, 0.95)},
			{Name: "envoy.overload_actions.stop_accepting_requests", Triggers: heapAbove(0.90)},
		},
		LoadshedPoints: []*overloadv3.LoadShedPoint{
			{Name: "envoy.load_shed_points.http2_server_go_away_and_close_on_dispatch", Triggers: heapAbove(0.99)},
		},
	}, nil
}

func resourceMonitor(name string, config proto.Message) (*overloadv3.ResourceMonitor, error) {
	packed, err := pack(config)
	if err != nil {
		return nil, err
	}
	return &overloadv3.ResourceMonitor{
		Name: name, ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: packed},
	}, nil
}

func heapAbove(part float64) []*overloadv3.Trigger {
	return []*overloadv3.Trigger{{Name: heapMonitor, TriggerOneof: &overloadv3.Trigger_Threshold{
		Threshold: &overloadv3.ThresholdTrigger{Value: part},
	}}}
}

// heapBetween makes an action grow from nothing at low to everything at high.
func heapBetween(low, high float64) []*overloadv3.Trigger {
	return []*overloadv3.Trigger{{Name: heapMonitor, TriggerOneof: &overloadv3.Trigger_Scaled{
		Scaled: &overloadv3.ScaledTrigger{ScalingThreshold: low, SaturationThreshold: high},
	}}}
}
