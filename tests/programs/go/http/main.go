// A server and a client of net/http that check each other, over HTTP/1 and over HTTP/2 without TLS.
//
//	http serve ADDRESS
//	http serve-upgrade ADDRESS    accepts Upgrade: h2c too
//	http check http://HOST:PORT
//	http streams http://HOST:PORT    10 000 at the same time
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: http serve|serve-upgrade ADDRESS | http check|streams URL")
	}
	switch os.Args[1] {
	case "serve":
		server := &http.Server{Addr: os.Args[2], Handler: handler(), Protocols: protocols(1, 2)}
		log.Fatal(server.ListenAndServe())
	case "serve-upgrade":
		log.Fatal(http.ListenAndServe(os.Args[2], h2c.NewHandler(handler(), new(http2.Server))))
	case "check":
		for _, version := range []int{1, 2} {
			if err := check(os.Args[2], version); err != nil {
				log.Fatalf("HTTP/%d: %v", version, err)
			}
		}
		fmt.Println("good")
	case "streams":
		if err := streams(os.Args[2], 10_000); err != nil {
			log.Fatal(err)
		}
		fmt.Println("good")
	default:
		log.Fatalf("unknown command %q", os.Args[1])
	}
}

// Requests to /wait that ended because the client went away.
var cancelled atomic.Int64

func handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/meet/", new(meeting))
	mux.HandleFunc("/protocol", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
	})
	// Sends the body back, and its hash as a trailer.
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Hash, X-Echo")
		hash := sha256.New()
		io.Copy(io.MultiWriter(w, hash), r.Body)
		w.Header().Set("X-Hash", hex.EncodeToString(hash.Sum(nil)))
		w.Header().Set("X-Echo", r.Trailer.Get("X-Sum"))
	})
	// Sends a line as soon as it has received one.
	mux.HandleFunc("/lines", func(w http.ResponseWriter, r *http.Request) {
		controller := http.NewResponseController(w)
		controller.EnableFullDuplex()
		w.WriteHeader(200)
		controller.Flush()
		line := make([]byte, 8)
		for {
			if _, err := io.ReadFull(r.Body, line); err != nil {
				return
			}
			w.Write(line)
			controller.Flush()
		}
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "hinted")
	})
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	})
	mux.HandleFunc("/abort", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, 100_000))
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			cancelled.Add(1)
		case <-time.After(30 * time.Second):
		}
	})
	mux.HandleFunc("/cancelled", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, cancelled.Load())
	})
	return mux
}

func protocols(versions ...int) *http.Protocols {
	protocols := new(http.Protocols)
	for _, version := range versions {
		if version == 1 {
			protocols.SetHTTP1(true)
		} else {
			protocols.SetUnencryptedHTTP2(true)
		}
	}
	return protocols
}

type client struct {
	http.Client
	url     string
	version int
}

func check(url string, version int) error {
	transport := &http.Transport{Protocols: protocols(version), ExpectContinueTimeout: 5 * time.Second}
	defer transport.CloseIdleConnections()
	c := &client{http.Client{Transport: transport, Timeout: 40 * time.Second}, url, version}
	steps := []struct {
		name string
		run  func() error
	}{
		{"protocol", c.protocol},
		{"head", c.head},
		{"echo", c.echo},
		{"trailers", c.trailers},
		{"lines", c.lines},
		{"hints", c.hints},
		{"expect", c.expect},
		{"abort", c.abort},
		{"cancel", c.cancel},
		{"concurrent", c.concurrent},
	}
	for _, step := range steps {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (c *client) get(path string) (string, error) {
	response, err := c.Get(c.url + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != 200 || response.ProtoMajor != c.version {
		return "", fmt.Errorf("%s: %s with %s", path, response.Status, response.Proto)
	}
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func (c *client) expectText(path, expected string) error {
	text, err := c.get(path)
	if err == nil && text != expected {
		err = fmt.Errorf("%s: %q instead of %q", path, text, expected)
	}
	return err
}

func (c *client) protocol() error {
	return c.expectText("/protocol", map[int]string{1: "HTTP/1.1", 2: "HTTP/2.0"}[c.version])
}

func (c *client) head() error {
	response, err := c.Head(c.url + "/protocol")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != 200 {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

func (c *client) echo() error {
	for _, length := range []int{0, 1, 100_000, 5_000_000} {
		sent := bytes.Repeat([]byte("weft"), length/4+1)[:length]
		request, _ := http.NewRequest("POST", c.url+"/echo", bytes.NewReader(sent))
		// Without it, a proxy may drop trailers.
		request.Header.Set("TE", "trailers")
		response, err := c.Do(request)
		if err != nil {
			return err
		}
		received, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		sum := sha256.Sum256(sent)
		if !bytes.Equal(received, sent) || response.Trailer.Get("X-Hash") != hex.EncodeToString(sum[:]) {
			return fmt.Errorf("%d bytes differ, trailers %v", length, response.Trailer)
		}
	}
	return nil
}

func (c *client) trailers() error {
	body := struct{ io.Reader }{bytes.NewReader([]byte("chunked"))}
	request, _ := http.NewRequest("POST", c.url+"/echo", body)
	request.Trailer = http.Header{"X-Sum": {"42"}}
	request.Header.Set("TE", "trailers")
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		return err
	}
	if echo := response.Trailer.Get("X-Echo"); echo != "42" {
		return fmt.Errorf("the trailer came back as %q", echo)
	}
	return nil
}

func (c *client) lines() error {
	reader, writer := io.Pipe()
	response, err := c.Post(c.url+"/lines", "text/plain", reader)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for number := 0; number < 50; number++ {
		sent := fmt.Sprintf("line %02d\n", number)
		if _, err := io.WriteString(writer, sent); err != nil {
			return err
		}
		received := make([]byte, len(sent))
		if _, err := io.ReadFull(response.Body, received); err != nil || string(received) != sent {
			return fmt.Errorf("%q instead of %q: %v", received, sent, err)
		}
	}
	writer.Close()
	rest, err := io.ReadAll(response.Body)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("after the end: %q, %v", rest, err)
	}
	return nil
}

func (c *client) hints() error {
	return c.expectText("/hints", "hinted")
}

// The server refuses without reading the body; the connection may be closed, but the answer arrives.
func (c *client) expect() error {
	request, _ := http.NewRequest("POST", c.url+"/refuse", bytes.NewReader(make([]byte, 1_000_000)))
	request.Header.Set("Expect", "100-continue")
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

func (c *client) abort() error {
	if _, err := c.get("/abort"); err == nil {
		return errors.New("an aborted response was taken for complete")
	}
	return nil
}

// The server learns that a request was cancelled. With HTTP/1 a client cancels by closing its connection, which a proxy
// cannot tell from the half-close of a client that waits for its answer.
func (c *client) cancel() error {
	if c.version == 1 {
		return nil
	}
	before, err := c.get("/cancelled")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, "GET", c.url+"/wait", nil)
	if response, err := c.Do(request); err == nil {
		response.Body.Close()
		return errors.New("it was not cancelled")
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if now, err := c.get("/cancelled"); err != nil || now != before {
			return err
		}
	}
	return errors.New("the server did not notice within 5 s")
}

func (c *client) concurrent() error {
	var group sync.WaitGroup
	failures := make(chan error, 100)
	for range 100 {
		group.Add(1)
		go func() {
			defer group.Done()
			failures <- c.echoOnce()
		}()
	}
	group.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *client) echoOnce() error {
	sent := make([]byte, 20_000)
	response, err := c.Post(c.url+"/echo", "application/octet-stream", bytes.NewReader(sent))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Equal(received, sent) {
		err = fmt.Errorf("%d of %d bytes came back", len(received), len(sent))
	}
	return err
}
