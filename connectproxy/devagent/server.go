package devagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/hashicorp/go-hclog"
)

const (
	// maxConnections is what an agent takes from one address by default.
	maxConnections = 200
	// maxBody is of a request, as an agent has it.
	maxBody = 512 << 10
	// endWithin is how long answers that are being written may take at the end.
	endWithin = time.Second
)

// Run serves on ln and makes the checks of services until ctx is done. It closes ln
// in any case, and returns an error where ln is not bound to a loopback address.
func (a *Agent) Run(ctx context.Context, ln net.Listener) error {
	if addr, ok := ln.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		ln.Close()
		return fmt.Errorf("%s is not a loopback address: whoever reaches this agent may do everything", ln.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          a.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		a.probes.run(ctx)
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		// What is held has been let go by its context.
		last, stop := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer stop()
		if server.Shutdown(last) != nil {
			server.Close()
		}
	}()
	err := server.Serve(netutil.LimitListener(ln, maxConnections))
	cancel()
	<-ended
	<-checked
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// guard refuses what a web page makes a browser ask: a name of the page's owner
// that points to the loopback (the page could then read certificates and their
// keys), and a write from another origin.
func guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	return sameOrigin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			http.Error(w, fmt.Sprintf("%q is no name of the loopback: this agent is for its own machine alone", r.Host), http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	}))
}

// isLoopback reports whether a Host header names the loopback, with or without a
// port.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
