package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// serve answers HTTP on ln until ctx is done. It closes ln.
func serve(ctx context.Context, ln net.Listener, handler http.HandlerFunc) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		<-ctx.Done()
		server.Close()
	}()
	err := server.Serve(ln)
	cancel()
	<-ended
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// apiHandler is the service api. It knows nothing of a mesh. Of /bytes there are
// as many as its caller stays for.
func apiHandler(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/bytes" {
		stream(w, r)
		return
	}
	fmt.Fprintf(w, "hello from api, you asked for %s\n", r.URL.Path)
}

// stream sends a few kilobytes a second.
func stream(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for line := bytes.Repeat([]byte("."), 1<<10); ; {
		if _, err := w.Write(line); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// webHandler is the service web: it passes each request on to api, on the port
// of its own machine where its proxy offers it. A new connection for each shows
// each decision.
func webHandler(upstream int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := get(r.Context(), "http://"+loopback(upstream)+r.URL.EscapedPath())
		if err != nil {
			http.Error(w, "web cannot reach api: "+err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "web got: %s", body)
	}
}

// maxPage is of what is passed on.
const maxPage = 1 << 20

// get is the body of a page; any other answer than 200 is an error that quotes
// it.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(body))
	}
	return string(body), err
}
