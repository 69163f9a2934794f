package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/listener"
)

const (
	minRetry = 250 * time.Millisecond
	maxRetry = 15 * time.Second
	// headerTimeout bounds how long a client may take to say what it wants.
	headerTimeout = 5 * time.Second
	// idleTimeout ends a connection that nobody asks on.
	idleTimeout = time.Minute
	// closeWait bounds how long answers under way are waited for at exit.
	closeWait = time.Second
)

// Options describe one Server.
type Options struct {
	// Name says in logs which server it is: "admin", "pprof".
	Name string
	// Address is host:port, or unix: and a path. Required.
	Address string
	// Handler answers. Required.
	Handler http.Handler
	// AllowRemote accepts an address that other machines can reach.
	AllowRemote bool
	// Logger is told when the address is taken; nil means none.
	Logger hclog.Logger
}

// Server serves HTTP on one address.
type Server struct {
	o                Options
	network, address string
	bound            atomic.Pointer[net.Addr]
	problem          atomic.Pointer[string]
}

// New checks the address and starts nothing. Its error is one the user has to
// mend: an address that is none, or one that other machines can reach.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	network, address, err := parse(o.Address)
	if err != nil {
		return nil, fmt.Errorf("%s address %q: %w", o.Name, o.Address, err)
	}
	if !o.AllowRemote && network == "tcp" && !loopback(address) {
		return nil, fmt.Errorf("%s address %q: not a loopback address (127.0.0.1, [::1], localhost) nor unix:/path, "+
			"and there is no authentication on it", o.Name, o.Address)
	}
	return &Server{o: o, network: network, address: address}, nil
}

func parse(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if path == "" {
			return "", "", errors.New("unix: without a path")
		}
		return "unix", path, nil
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		return "", "", errors.New("neither host:port nor unix:/path")
	}
	return "tcp", s, nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Run serves until ctx is done and returns ctx's error once every request has
// ended. An address that cannot be bound is tried again for ever: it is said
// once, and the proxy goes on without.
func (s *Server) Run(ctx context.Context) error {
	for {
		ln, err := s.bind(ctx)
		if err != nil {
			return err
		}
		err = s.serve(ctx, ln)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.o.Logger.Warn("serving ended; listening again", "listener", s.o.Name, "error", err, "retry_in", minRetry.String())
		if !sleep(ctx, minRetry) {
			return ctx.Err()
		}
	}
}

// serve answers on ln until ctx is done or accepting fails for good.
func (s *Server) serve(ctx context.Context, ln net.Listener) error {
	addr := ln.Addr()
	s.bound.Store(&addr)
	defer s.bound.Store(nil)
	s.o.Logger.Info("serving", "listener", s.o.Name, "address", addr.String())
	srv := &http.Server{
		Handler:           s.o.Handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          s.o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		_ = srv.Close()
		return err
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	if srv.Shutdown(bounded) != nil {
		_ = srv.Close()
	}
	return <-served
}

// Addr is where the server listens; nil while it does not.
func (s *Server) Addr() net.Addr {
	if a := s.bound.Load(); a != nil {
		return *a
	}
	return nil
}

// Problem says why the server does not listen; empty when it does or was not
// run.
func (s *Server) Problem() string {
	if p := s.problem.Load(); p != nil {
		return *p
	}
	return ""
}

func (s *Server) bind(ctx context.Context) (net.Listener, error) {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		ln, err := listener.Listen(ctx, s.network, s.address, 0)
		if err == nil {
			s.problem.Store(nil)
			return ln, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if text := err.Error(); s.problem.Swap(&text) == nil {
			s.o.Logger.Warn("cannot listen; the proxy goes on without", "listener", s.o.Name,
				"address", s.address, "error", err, "retry_in", wait.String())
		}
		if !sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}

// sleep says whether d passed before ctx was done.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
