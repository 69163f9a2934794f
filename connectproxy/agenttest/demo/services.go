package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// application is an application that knows nothing of the mesh: plain HTTP on
// loopback.
type application struct {
	port   int
	server *http.Server
	done   chan struct{}
}

// serveHTTP starts a service on a free port.
func serveHTTP(handler http.HandlerFunc) (*application, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting a service: %w", err)
	}
	s := &application{
		port:   ln.Addr().(*net.TCPAddr).Port,
		server: &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second},
		done:   make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.server.Serve(ln) // ErrServerClosed
	}()
	return s, nil
}

func (s *application) close() {
	s.server.Close()
	<-s.done
}

// apiHandler is the service api.
func apiHandler(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "hello from api, you asked for %s", r.URL.Path)
}

// webHandler is the service web: it passes each request on to api, through the
// port on which its proxy offers it. A new connection for each shows each
// decision.
func webHandler(upstream string) http.HandlerFunc {
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		Timeout:   10 * time.Second,
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := get(r.Context(), client, "http://"+upstream+r.URL.Path)
		if err != nil {
			http.Error(w, "web cannot reach api: "+err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, "web got %q", body)
	}
}

// get is the body of a page; any other answer than 200 is an error that quotes
// it.
func get(ctx context.Context, client *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(body))
	}
	return string(body), err
}
