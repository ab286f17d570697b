// The server of weft.test.Bytes in grpc-go. The service has messages of plain bytes.
//
//	grpc serve ADDRESS
//	grpc check ADDRESS
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const largest = 64 << 20

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: grpc serve ADDRESS | grpc check ADDRESS")
	}
	switch os.Args[1] {
	case "serve":
		listener, err := net.Listen("tcp", os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		server := grpc.NewServer(
			grpc.ForceServerCodecV2(encoding.GetCodecV2("bytes")), grpc.MaxRecvMsgSize(largest),
			grpc.MaxSendMsgSize(largest),
		)
		server.RegisterService(&service, nil)
		log.Fatal(server.Serve(listener))
	case "check":
		if err := check(os.Args[2]); err != nil {
			log.Fatal(err)
		}
		fmt.Println("good")
	default:
		log.Fatalf("unknown command %q", os.Args[1])
	}
}

// Calls of Wait whose client went away or whose deadline passed.
var ended atomic.Int64

var service = grpc.ServiceDesc{
	ServiceName: "weft.test.Bytes",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Echo", Handler: unary(echo)},
		{MethodName: "Fail", Handler: unary(fail)},
		{MethodName: "Wait", Handler: unary(wait)},
		{MethodName: "Ended", Handler: unary(countEnded)},
	},
	Streams: []grpc.StreamDesc{
		{StreamName: "Count", Handler: count, ServerStreams: true},
		{StreamName: "Sum", Handler: sum, ClientStreams: true},
		{StreamName: "Chat", Handler: chat, ServerStreams: true, ClientStreams: true},
	},
}

func unary(handle func(context.Context, []byte) ([]byte, error)) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var request []byte
		if err := decode(&request); err != nil {
			return nil, err
		}
		response, err := handle(ctx, request)
		return &response, err
	}
}

// Sends the message back, and the metadata x-sent and x-data-bin as headers.
func echo(ctx context.Context, request []byte) ([]byte, error) {
	received, _ := metadata.FromIncomingContext(ctx)
	grpc.SetHeader(ctx, metadata.MD{"x-header": received["x-sent"], "x-data-bin": received["x-data-bin"]})
	return request, nil
}

func fail(ctx context.Context, request []byte) ([]byte, error) {
	grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "failed"))
	return nil, status.Error(codes.NotFound, "no such thing: "+string(request))
}

func wait(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	ended.Add(1)
	return nil, status.FromContextError(ctx.Err()).Err()
}

func countEnded(context.Context, []byte) ([]byte, error) {
	return []byte(strconv.FormatInt(ended.Load(), 10)), nil
}

// Sends as many messages as the request says.
func count(_ any, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	last, err := strconv.Atoi(string(request))
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for number := range last {
		message := []byte(strconv.Itoa(number))
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	return nil
}

// Returns the length of all messages.
func sum(_ any, stream grpc.ServerStream) error {
	total := 0
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			answer := []byte(strconv.Itoa(total))
			return stream.SendMsg(&answer)
		}
		if err != nil {
			return err
		}
		total += len(message)
	}
}

// Sends every message back at once.
func chat(_ any, stream grpc.ServerStream) error {
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}
