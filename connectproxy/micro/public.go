package micro

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/rebinding"
	"connect-proxy/connectproxy/requestbody"
	"connect-proxy/listener"
)

const (
	// publicIdle is how long a stranger's connection is kept for its next request.
	publicIdle = time.Minute
	// publicBody is how long the body of a stranger's call may take.
	publicBody = 30 * time.Second
	// publicCall is the longest time that a stranger's call may take at its service.
	publicCall = 30 * time.Second
)

// PublicServer answers strangers, who reach it through a listener that secures their
// connections, with what the paths of requests name: calls, or HTTP requests that
// are passed on. Nothing else of a Server is there. Its methods are safe for
// concurrent use.
type PublicServer struct{ s *Server }

// NewPublicServer makes a PublicServer. It starts nothing, and allows nobody anything before
// Update. Of o it needs Destination, Dial and, if it is to log, Logger.
func NewPublicServer(o Options) *PublicServer {
	s := New(o)
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.handlePublic),
		// What is no request for a host of ours is answered as such, also OPTIONS *.
		DisableGeneralOptionsHandler: true,

		ReadHeaderTimeout: headerTime,
		IdleTimeout:       publicIdle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          s.o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ConnContext:       withClient,
		ConnState:         followConn,
	}
	return &PublicServer{s}
}

// Update puts c in force for requests from then on. An error names a destination or
// header of c that cannot be read, and leaves the former configuration in force.
func (p *PublicServer) Update(c config.Edge) error {
	allow, err := config.NewDestinationList(c.Allow)
	if err != nil {
		return err
	}
	headers, err := newHeaderRules(c)
	if err != nil {
		return err
	}
	hosts := make(map[string]bool, len(c.Hosts))
	for _, h := range c.Hosts {
		hosts[strings.ToLower(h)] = true
	}
	p.s.rules.Store(&rules{block: "edge", Micro: config.Micro{Namespace: c.Namespace, Handler: c.Handler}, allow: allow, hosts: hosts, headers: headers})
	return nil
}

// Request is what a client asks for whose connection is secured: to be served, until
// one of the two has enough.
func (p *PublicServer) Request(conn net.Conn) listener.Request {
	c := p.s.newClient(&unhurriedConn{conn}, nil)
	return listener.Request{
		Conn:      conn,
		Serve:     func(ctx context.Context, _ net.Conn) { p.s.serve(ctx, c) },
		IdleSince: c.idleSince,
	}
}

// CloseIdle and Reset are a Server's.
func (p *PublicServer) CloseIdle() { p.s.CloseIdle() }

// Reset has no connection to a service that is open now get further calls.
func (p *PublicServer) Reset() { p.s.Reset() }

// unhurriedConn bounds how long a stranger may take nothing of what is written.
type unhurriedConn struct{ net.Conn }

// writePiece is how much has to be taken within the time, a record of TLS: a client
// that reads without a pause gets all of a long answer, however slow it is.
const writePiece = 16 << 10

// Write is net.Conn's.
func (c *unhurriedConn) Write(b []byte) (written int, err error) {
	for written < len(b) && err == nil {
		if err = c.SetWriteDeadline(time.Now().Add(publicBody)); err == nil {
			var n int
			n, err = c.Conn.Write(b[written:min(written+writePiece, len(b))])
			written += n
		}
	}
	return written, err
}

// CloseWrite ends the sending direction, as a client's.
func (c *unhurriedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// notPublic are the paths of a sidecar's own pages, which are no services' here.
var notPublic = map[string]bool{"": true, "registry": true, "broker": true, "stats": true, "health": true}

// handlePublic answers one request of a stranger.
func (s *Server) handlePublic(w http.ResponseWriter, r *http.Request) {
	session := clientOf(r).session
	if !session.begin() {
		return // the client has gone
	}
	defer session.running.Done()
	share := &share{of: &s.held, from: listener.SourceOf(session.client)}
	defer share.free()
	rules := s.rules.Load()
	bounds := requestbody.Bounds{Whole: s.bodyTime}
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if rules.Handler == config.MicroProxy && first != "rpc" {
		bounds = requestbody.Bounds{Stall: s.stallTime} // it is passed on, and may be long
	}
	w, r, body := requestbody.Follow(w, r, bounds)
	defer body.End()
	w = &publicWriter{w, share}
	if name, ok := rebinding.Hostname(r.Host); !ok || !rules.hosts[strings.ToLower(name)] {
		http.Error(w, "this server has no such name", http.StatusMisdirectedRequest)
		return
	}
	unspoofed(r, rules.headers)
	switch {
	case notPublic[first]:
		http.NotFound(w, r)
	case r.Method == http.MethodConnect:
		http.Error(w, "there are no tunnels here", http.StatusMethodNotAllowed)
	case first == "rpc":
		s.serveRPC(w, r)
	case rules.Handler == config.MicroProxy:
		s.forward(w, r, body, rules.Namespace)
	default:
		s.servePath(w, r, rules.Namespace)
	}
}

// unspoofed takes from a request what would be believed of a sidecar, and says who
// has sent it.
func unspoofed(r *http.Request, headers headerRules) {
	limit := publicCall
	if d := timeoutOf(r.Header); d > 0 {
		limit = min(d, limit)
	}
	// Also what Connection names: it must not take away what is set below.
	for k := range excluded(r.Header) {
		r.Header.Del(k)
	}
	headers.clean(r.Header)
	r.Trailer = nil
	r.Header.Set(headerTimeout, strconv.FormatInt(int64(limit), 10))
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		r.Header.Set("X-Forwarded-For", from.Addr().Unmap().String())
	}
	r.Header.Set("X-Forwarded-Host", r.Host)
	r.Header.Set("X-Forwarded-Proto", "https")
}

// publicWriter answers a stranger, who is not told what the mesh looks like.
type publicWriter struct {
	http.ResponseWriter
	share *share // of what the call holds
}

// Hijack gives no stranger a connection that is no longer one of requests, whatever a
// service answers.
func (w *publicWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

// Unwrap is for http.ResponseController.
func (w *publicWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// forStrangers is what a stranger is told of a failure: of a service that may not
// be called no more than of one that there is not, and of a body that did not come no
// more than that. Errors of the connection have its addresses, which are others than
// a stranger knows where something translates them.
func (f *failure) forStrangers() *failure {
	if f == busy {
		return f
	}
	if errors.As(f.err, new(*net.OpError)) && f.code == http.StatusBadRequest {
		return badRequest(errNotWhole)
	}
	switch f.code {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge:
		return f // about the request alone
	case http.StatusForbidden, http.StatusNotFound:
		return &failure{http.StatusNotFound, "not_found", errNoSuchService}
	case http.StatusGatewayTimeout:
		return &failure{f.code, "timeout", errNoAnswerInTime}
	}
	return &failure{http.StatusBadGateway, "unavailable", errServiceFails}
}

var (
	errNoSuchService = errors.New("there is no such service here")
	errServiceFails  = errors.New("the service cannot be reached, or has not answered")
	errNotWhole      = errors.New("the body of the request has not come whole, or not in time")
)
