package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/netutil"

	"connect-proxy/listener"
	"connect-proxy/upstream/backoff"
)

const (
	// headerTimeout bounds how long a client may take to say what it wants, and
	// requestTimeout that with a body, for which net/http waits whether or not a page
	// reads it.
	headerTimeout, requestTimeout = 5 * time.Second, 10 * time.Second
	// answerTimeout bounds how long a client may take over an answer. A profile has
	// as long in addition to the time that it was asked to last.
	answerTimeout = 30 * time.Second
	// maxConns is how many connections there are at a time; more wait, or take the
	// place of others where other machines reach the server.
	maxConns = 64
	// maxConnsOfAddress is how many of them one address may have there, and this
	// machine on top of them.
	maxConnsOfAddress = 16
	// idleTimeout ends a connection that nobody asks on.
	idleTimeout = time.Minute
	// closeWait bounds how long answers under way are waited for at exit.
	closeWait = time.Second
	// socketMode lets the proxy's own user alone use a unix socket.
	socketMode fs.FileMode = 0o600
)

// Options describe one Server.
type Options struct {
	// Name says in logs which server it is: "admin", "pprof".
	Name string
	// Address is host:port, or unix: and a path. Required.
	Address string
	// Pages are what is served; nil serves nothing. New copies the map.
	Pages Pages
	// AllowRemote accepts an address that other machines can reach. Only GET and
	// HEAD are answered there.
	AllowRemote bool
	// Logger gets what happens to the listener; nil means none.
	Logger hclog.Logger
}

// Server serves HTTP on one address. Its methods are safe for concurrent use, but
// Run is called once.
type Server struct {
	o                Options
	handler          http.Handler
	remote           bool // other machines reach it
	network, address string
	bound            atomic.Pointer[net.Addr]
	problem          atomic.Pointer[string]
	// The times are fields for tests.
	requestTimeout, answerTimeout time.Duration
}

// New checks the address and starts nothing. An error names an address that
// cannot be one, or that other machines can reach, or a page that has no method.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	network, address, err := parse(o.Address)
	if err != nil {
		return nil, fmt.Errorf("%s address %q: %w", o.Name, o.Address, err)
	}
	local := network == "unix" || localHost(address)
	if !local && !o.AllowRemote {
		return nil, fmt.Errorf("%s address %q: not a loopback address (127.0.0.1, [::1], localhost) nor unix:/path, "+
			"and there is no authentication on it", o.Name, o.Address)
	}
	mux, err := o.Pages.mux()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	s := &Server{o: o, network: network, address: address, remote: !local, requestTimeout: requestTimeout, answerTimeout: answerTimeout}
	switch {
	case network == "unix":
		s.handler = guarded(mux)
	case local:
		s.handler = named(false, "", guarded(mux))
	default:
		host, _, _ := net.SplitHostPort(address)
		s.handler = named(true, host, readOnly(guarded(mux)))
	}
	return s, nil
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

// Run serves until ctx is done and returns ctx's error once every request has
// ended, which those under way have a second for. An address that cannot be bound
// is logged once and tried again until ctx is done; Problem says why meanwhile.
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
		s.o.Logger.Warn("serving ended; listening again", "listener", s.o.Name, "error", err, "retry_in", backoff.DefaultMin.String())
		if !backoff.Sleep(ctx, backoff.DefaultMin) {
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
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       s.requestTimeout,
		WriteTimeout:      s.answerTimeout,
		IdleTimeout:       idleTimeout,
		ConnContext:       withConn,
		ErrorLog:          s.o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	if s.remote {
		ln = newSharedListener(ln, maxConns, maxConnsOfAddress)
	} else {
		ln = netutil.LimitListener(ln, maxConns)
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

// Addr returns where the server listens; nil while it does not.
func (s *Server) Addr() net.Addr {
	if a := s.bound.Load(); a != nil {
		return *a
	}
	return nil
}

// Problem returns why the server does not listen; empty when it does or was not
// run.
func (s *Server) Problem() string {
	if p := s.problem.Load(); p != nil {
		return *p
	}
	return ""
}

func (s *Server) bind(ctx context.Context) (net.Listener, error) {
	var retry backoff.Backoff
	for {
		ln, err := listener.Listen(ctx, s.network, s.address, socketMode)
		if err == nil {
			s.problem.Store(nil)
			return ln, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		wait := retry.Next()
		if text := err.Error(); s.problem.Swap(&text) == nil {
			s.o.Logger.Warn("cannot listen; the proxy goes on without", "listener", s.o.Name,
				"address", s.address, "error", err, "retry_in", wait.String())
		}
		if !backoff.Sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}
