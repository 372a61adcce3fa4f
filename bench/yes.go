package main

import (
	"context"
	"errors"
	"net"
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

// yesServer is the least that an ext_authz server can do: a grpc-go server with
// its defaults, the generated messages, one header added.
type yesServer struct {
	authv3.UnimplementedAuthorizationServer
	metadata *structpb.Struct // what Envoy needs to know to ask yesProcessor too
}

func (s yesServer) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status: &status.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-decision", Value: "yes"}}},
		}},
		DynamicMetadata: s.metadata,
	}, nil
}

// yesProcessor is the least that an ext_proc server can do: whatever comes may
// go on.
type yesProcessor struct {
	extprocv3.UnimplementedExternalProcessorServer
}

func (yesProcessor) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		response := &extprocv3.ProcessingResponse{}
		switch request.GetRequest().(type) {
		case *extprocv3.ProcessingRequest_RequestHeaders:
			response.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}
		case *extprocv3.ProcessingRequest_ResponseHeaders:
			response.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{}}
		case *extprocv3.ProcessingRequest_ResponseBody:
			response.Response = &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{}}
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

// serveYes answers on a Unix socket; with exchanges it is also an ext_proc server.
func serveYes(ctx context.Context, socket string, exchanges bool) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server, check := grpc.NewServer(), yesServer{}
	if exchanges {
		check.metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"exchange": structpb.NewStringValue("run")}}
		extprocv3.RegisterExternalProcessorServer(server, yesProcessor{})
	}
	authv3.RegisterAuthorizationServer(server, check)
	context.AfterFunc(ctx, server.Stop)
	return server.Serve(listener)
}

// serveUpstream is the MCP server behind all Envoys: one small answer to
// everything.
func serveUpstream(ctx context.Context, socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	answer := []byte(`{"jsonrpc":"2.0","id":42,"result":{"content":[{"type":"text","text":"Swift Dzire, 2024, white, 870000, at the showroom in Pune"}]}}`)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // Envoy is the only client
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer) // a client that is gone has its error
	})}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
