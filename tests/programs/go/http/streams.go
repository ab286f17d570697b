package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// The requests to /meet/N wait until N of them are open at the same time.
type meeting struct {
	sync.Mutex
	present int
	all     chan struct{}
}

func (m *meeting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	expected, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/meet/"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	m.Lock()
	if m.present == 0 {
		m.all = make(chan struct{})
	}
	m.present++
	all := m.all
	if m.present == expected {
		m.present = 0
		close(all)
	}
	m.Unlock()
	select {
	case <-all:
		w.Write(body)
	case <-r.Context().Done():
	}
}

// Opens count streams to /meet, on as many connections as the server's limit of streams asks for.
func streams(url string, count int) error {
	ctx, stop := context.WithTimeout(context.Background(), 80*time.Second)
	defer stop()
	address := strings.TrimPrefix(url, "http://")
	transport := &http2.Transport{AllowHTTP: true}
	connect := func() (*http2.ClientConn, error) {
		socket, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		connection, err := transport.NewClientConn(socket)
		if err != nil {
			return nil, err
		}
		// After the answer, the server's settings are known.
		return connection, connection.Ping(ctx)
	}
	var connection *http2.ClientConn
	connections, free := 0, 0
	results := make(chan error, count)
	for number := range count {
		if free == 0 {
			var err error
			if connection, err = connect(); err != nil {
				return fmt.Errorf("connection %d: %w", connections, err)
			}
			connections++
			free = int(min(connection.State().MaxConcurrentStreams, uint32(count)))
			if free == 0 {
				return errors.New("a new connection takes no stream")
			}
		}
		free--
		go func(connection *http2.ClientConn) {
			results <- meet(ctx, connection, fmt.Sprintf("%s/meet/%d", url, count), number)
		}(connection)
	}
	var failures []error
	for range count {
		if err := <-results; err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%d of %d streams on %d connections failed: %w", len(failures), count, connections, failures[0])
	}
	return nil
}

func meet(ctx context.Context, connection *http2.ClientConn, url string, number int) error {
	sent := []byte(fmt.Sprintf("%01000d", number))
	request, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	response, err := connection.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || !bytes.Equal(received, sent) {
		return errors.New(response.Status)
	}
	return nil
}
