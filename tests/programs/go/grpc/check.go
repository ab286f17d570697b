package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type client struct {
	*grpc.ClientConn
}

// Calls every method of a server, whatever it is written in.
func check(address string) error {
	connection, err := grpc.NewClient(
		"passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(encoding.GetCodecV2("bytes")), grpc.MaxCallRecvMsgSize(largest),
			grpc.MaxCallSendMsgSize(largest), grpc.CallContentSubtype(""),
		),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	c := client{connection}
	ctx, stop := context.WithTimeout(context.Background(), 60*time.Second)
	defer stop()
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"unary", c.unary},
		{"metadata", c.metadata},
		{"large", c.large},
		{"server streaming", c.serverStreaming},
		{"client streaming", c.clientStreaming},
		{"bidirectional", c.bidirectional},
		{"failure", c.failure},
		{"unimplemented", c.unimplemented},
		{"deadline", c.deadline},
		{"cancellation", c.cancellation},
		{"concurrent", c.concurrent},
	}
	for _, step := range steps {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (c client) call(ctx context.Context, method string, request []byte, options ...grpc.CallOption) ([]byte, error) {
	var response []byte
	err := c.Invoke(ctx, "/weft.test.Bytes/"+method, &request, &response, options...)
	return response, err
}

func (c client) stream(ctx context.Context, method string) (grpc.ClientStream, error) {
	return c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/weft.test.Bytes/"+method)
}

func (c client) unary(ctx context.Context) error {
	for _, sent := range []string{"", "hello"} {
		received, err := c.call(ctx, "Echo", []byte(sent))
		if err != nil || string(received) != sent {
			return fmt.Errorf("%q instead of %q: %w", received, sent, err)
		}
	}
	return nil
}

func (c client) metadata(ctx context.Context) error {
	binary := string([]byte{0, 1, 0xff, '\n'})
	ctx = metadata.AppendToOutgoingContext(ctx, "x-sent", "one", "x-data-bin", binary)
	var header metadata.MD
	if _, err := c.call(ctx, "Echo", nil, grpc.Header(&header)); err != nil {
		return err
	}
	if fmt.Sprintf("%q %q", header["x-header"], header["x-data-bin"]) != fmt.Sprintf("[%q] [%q]", "one", binary) {
		return fmt.Errorf("header %v", header)
	}
	return nil
}

func (c client) large(ctx context.Context) error {
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	received, err := c.call(ctx, "Echo", sent)
	if err == nil && !bytes.Equal(received, sent) {
		err = fmt.Errorf("%d of %d bytes came back", len(received), len(sent))
	}
	return err
}

func (c client) serverStreaming(ctx context.Context) error {
	stream, err := c.stream(ctx, "Count")
	if err != nil {
		return err
	}
	request := []byte("1000")
	if err := errors.Join(stream.SendMsg(&request), stream.CloseSend()); err != nil {
		return err
	}
	for number := range 1000 {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil || string(message) != strconv.Itoa(number) {
			return fmt.Errorf("message %d is %q: %w", number, message, err)
		}
	}
	var message []byte
	if err := stream.RecvMsg(&message); err != io.EOF {
		return fmt.Errorf("the end is %q, %v", message, err)
	}
	return nil
}

func (c client) clientStreaming(ctx context.Context) error {
	stream, err := c.stream(ctx, "Sum")
	if err != nil {
		return err
	}
	for range 1000 {
		message := make([]byte, 1000)
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	var total []byte
	if err := errors.Join(stream.CloseSend(), stream.RecvMsg(&total)); err != nil || string(total) != "1000000" {
		return fmt.Errorf("the sum is %q: %w", total, err)
	}
	return nil
}

func (c client) bidirectional(ctx context.Context) error {
	stream, err := c.stream(ctx, "Chat")
	if err != nil {
		return err
	}
	for number := range 100 {
		sent, received := []byte(strconv.Itoa(number)), []byte(nil)
		err := errors.Join(stream.SendMsg(&sent), stream.RecvMsg(&received))
		if err != nil || !bytes.Equal(received, sent) {
			return fmt.Errorf("%q instead of %q: %w", received, sent, err)
		}
	}
	var message []byte
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(&message); err != io.EOF {
		return fmt.Errorf("the end is %q, %v", message, err)
	}
	return nil
}

func (c client) failure(ctx context.Context) error {
	var trailer metadata.MD
	_, err := c.call(ctx, "Fail", []byte("weft"), grpc.Trailer(&trailer))
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "no such thing: weft" {
		return fmt.Errorf("the status is %v", err)
	}
	if fmt.Sprint(trailer["x-trailer"]) != "[failed]" {
		return fmt.Errorf("the trailer is %v", trailer)
	}
	return nil
}

func (c client) unimplemented(ctx context.Context) error {
	if _, err := c.call(ctx, "Nothing", nil); status.Code(err) != codes.Unimplemented {
		return fmt.Errorf("the status is %v", err)
	}
	return nil
}

func (c client) deadline(ctx context.Context) error {
	// At the deadline, a server in tonic says Canceled.
	return c.endsWait(ctx, []codes.Code{codes.DeadlineExceeded, codes.Canceled}, func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, 300*time.Millisecond)
	})
}

func (c client) cancellation(ctx context.Context) error {
	return c.endsWait(ctx, []codes.Code{codes.Canceled}, func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(300*time.Millisecond, cancel)
		return ctx, cancel
	})
}

// Both sides of a call of Wait end when its context does.
func (c client) endsWait(
	ctx context.Context, expected []codes.Code, limit func(context.Context) (context.Context, context.CancelFunc),
) error {
	before, err := c.call(ctx, "Ended", nil)
	if err != nil {
		return err
	}
	limited, cancel := limit(ctx)
	defer cancel()
	begun := time.Now()
	_, err = c.call(limited, "Wait", nil)
	if !slices.Contains(expected, status.Code(err)) || time.Since(begun) > 3*time.Second {
		return fmt.Errorf("the status is %v after %v", err, time.Since(begun))
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now, err := c.call(ctx, "Ended", nil); err != nil || !bytes.Equal(now, before) {
			return err
		}
	}
	return errors.New("the server did not notice within 5 s")
}

func (c client) concurrent(ctx context.Context) error {
	var group sync.WaitGroup
	failures := make(chan error, 200)
	for range cap(failures) {
		group.Add(1)
		go func() {
			defer group.Done()
			failures <- errors.Join(c.unary(ctx), c.bidirectional(ctx))
		}()
	}
	group.Wait()
	close(failures)
	var all error
	for err := range failures {
		all = errors.Join(all, err)
	}
	return all
}
