// Command service is gRPC's own TestService (google.golang.org/grpc/interop/grpc_testing) with reflection and health, on the
// standard server. For each call it adds a line with the method and the metadata that arrived to a journal.
//
//	service -listen ADDRESS -journal FILE [-cert FILE -key FILE]
//
// UnaryCall answers with the payload that it got; StreamingOutputCall sends as many as are asked for; StreamingInputCall says how
// much came; FullDuplexCall answers each request as it comes. Where a request asks for a status, the call ends with it, with
// details (google.rpc.ErrorInfo). Each call ends with the trailer x-bench-calls.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

func main() {
	listen := flag.String("listen", "", "where to listen")
	file := flag.String("journal", "", "where a line is added for each call")
	cert := flag.String("cert", "", "certificate, for TLS")
	key := flag.String("key", "", "its key")
	flag.Parse()
	journal, err := os.OpenFile(*file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	calls := &calls{journal: journal}
	options := []grpc.ServerOption{grpc.UnaryInterceptor(calls.unary), grpc.StreamInterceptor(calls.stream)}
	if *cert != "" {
		secure, err := credentials.NewServerTLSFromFile(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(secure))
	}
	server := grpc.NewServer(options...)
	testgrpc.RegisterTestServiceServer(server, &service{})
	healthgrpc.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(listener))
}

// calls counts and writes down before anybody answers.
type calls struct {
	mutex   sync.Mutex
	journal *os.File
	count   int
}

func (c *calls) note(ctx context.Context, method string) (metadata.MD, error) {
	fields, _ := metadata.FromIncomingContext(ctx)
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	headers := [][2]string{}
	for _, name := range names {
		for _, value := range fields[name] {
			headers = append(headers, [2]string{encoded(name), encoded(value)})
		}
	}
	line, err := json.Marshal(map[string]any{
		"method":  encoded("POST"),
		"target":  encoded(method),
		"headers": headers,
		"body":    map[string]any{"length": 0, "sha256": "", "complete": true},
	})
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.count++
	_, err = c.journal.Write(append(line, '\n'))
	return metadata.Pairs("x-bench-calls", strconv.Itoa(c.count)), err
}

func (c *calls) unary(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	trailer, err := c.note(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, trailer); err != nil {
		return nil, err
	}
	return next(ctx, in)
}

func (c *calls) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	trailer, err := c.note(stream.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	stream.SetTrailer(trailer)
	return next(service, stream)
}

func encoded(text string) string {
	return base64.StdEncoding.EncodeToString([]byte(text))
}

type service struct {
	testgrpc.UnimplementedTestServiceServer
}

func (*service) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	return &testgrpc.Empty{}, nil
}

func (*service) UnaryCall(_ context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	if err := asked(in.GetResponseStatus()); err != nil {
		return nil, err
	}
	payload := in.GetPayload()
	if size := in.GetResponseSize(); size > 0 {
		payload = &testgrpc.Payload{Body: make([]byte, size)}
	}
	return &testgrpc.SimpleResponse{Payload: payload}, nil
}

func (*service) StreamingOutputCall(in *testgrpc.StreamingOutputCallRequest, stream testgrpc.TestService_StreamingOutputCallServer) error {
	return answer(stream.Context(), in, stream.Send)
}

func (*service) StreamingInputCall(stream testgrpc.TestService_StreamingInputCallServer) error {
	size := 0
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: int32(size)})
		}
		if err != nil {
			return err
		}
		size += len(in.GetPayload().GetBody())
	}
}

func (*service) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := answer(stream.Context(), in, stream.Send); err != nil {
			return err
		}
	}
}

// answer sends what one request asks for: payloads of these sizes in these intervals, or its own payload, and then a status.
func answer(
	ctx context.Context,
	in *testgrpc.StreamingOutputCallRequest,
	send func(*testgrpc.StreamingOutputCallResponse) error,
) error {
	if len(in.GetResponseParameters()) == 0 && in.GetPayload() != nil {
		if err := send(&testgrpc.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
	for _, wanted := range in.GetResponseParameters() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(wanted.GetIntervalUs()) * time.Microsecond):
		}
		payload := &testgrpc.Payload{Body: make([]byte, wanted.GetSize())}
		if err := send(&testgrpc.StreamingOutputCallResponse{Payload: payload}); err != nil {
			return err
		}
	}
	return asked(in.GetResponseStatus())
}

// asked is the status that a request wants, with details.
func asked(wanted *testgrpc.EchoStatus) error {
	if wanted.GetCode() == 0 {
		return nil
	}
	said := status.New(codes.Code(wanted.GetCode()), wanted.GetMessage())
	detailed, err := said.WithDetails(&errdetails.ErrorInfo{
		Reason:   "ASKED_FOR",
		Domain:   "bench.gatescribe.dev",
		Metadata: map[string]string{"message": wanted.GetMessage()},
	})
	if err != nil {
		return err
	}
	return detailed.Err()
}
