package byname

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/connectproxy/rebinding"
	"connect-proxy/connectproxy/requestbody"
	"connect-proxy/upstream/loglimit"
)

const (
	// headTime bounds the head of each request of plain HTTP.
	headTime = 10 * time.Second
	// clientIdle and serviceIdle are how long a connection is kept for the next
	// request: a client's, and one to a service.
	clientIdle, serviceIdle = 2 * time.Minute, 30 * time.Second
	// maxKept and maxKeptPerService bound the connections to services that are
	// kept.
	maxKept, maxKeptPerService = 256, 16
)

// forward is the proxy for plain HTTP.
type forward struct {
	s         *Server
	server    *http.Server
	transport *http.Transport
	draining  atomic.Bool // nothing is kept for later
	// generation counts what connections to services were opened with.
	generation atomic.Int64
	refusals   loglimit.Limit
}

func newForward(s *Server) *forward {
	f := &forward{s: s}
	f.transport = &http.Transport{
		DialContext:           f.dial,
		DisableCompression:    true,
		MaxIdleConns:          maxKept,
		MaxIdleConnsPerHost:   maxKeptPerService,
		IdleConnTimeout:       serviceIdle,
		ExpectContinueTimeout: time.Second,
		Protocols:             onlyHTTP1(),
	}
	logger := s.o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})
	f.server = &http.Server{
		Handler: http.HandlerFunc(f.handle),
		// OPTIONS * is answered as what names no service.
		DisableGeneralOptionsHandler: true,

		ReadHeaderTimeout: headTime,
		IdleTimeout:       clientIdle,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          logger,
		Protocols:         onlyHTTP1(),
		ConnContext:       withClient,
	}
	return f
}

func onlyHTTP1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// clientContextKey is of the client's address in the context of its requests, and
// callKey of where one of them leads.
type (
	clientContextKey struct{}
	callKey          struct{}
)

// withClient has a server's requests know their client's address, and their context
// be done when it is to be served no more: net/http sees the end of a connection only
// once the body of the request has been read, which is up to the service.
func withClient(ctx context.Context, c net.Conn) context.Context {
	ctx, cancel := context.WithCancel(context.WithValue(ctx, clientContextKey{}, c.RemoteAddr()))
	context.AfterFunc(c.(*accepted).of.ctx, cancel)
	return ctx
}

// serve answers a client, of which first has been read, until it or the proxy has
// enough, or ctx is done.
func (f *forward) serve(ctx context.Context, client net.Conn, first []byte) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = f.server.Serve(&oneClient{ctx: ctx, client: client, first: first, closed: make(chan struct{})})
}

func (f *forward) closeIdle() {
	f.draining.Store(true)
	f.server.SetKeepAlivesEnabled(false)
	f.transport.CloseIdleConnections()
}

// reset leaves connections with a request to their end, after which nothing asks for
// those of their generation.
func (f *forward) reset() {
	f.generation.Add(1)
	f.transport.CloseIdleConnections()
}

// handle answers one request.
func (f *forward) handle(w http.ResponseWriter, r *http.Request) {
	w, r, body := requestbody.Follow(w, r, requestbody.Bounds{})
	defer body.End()
	call, path, err := f.route(r)
	if err != nil {
		f.fail(w, r, err)
		return
	}
	r = body.SentOn(r.WithContext(context.WithValue(r.Context(), callKey{}, call)))
	last := f.draining.Load()
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			rewrite(p, f.poolKey(call), path)
			body.OneProtocol(p.Out)
			requestbody.PassTrailers(p)
			p.Out.Close = last
		},
		ModifyResponse: requestbody.Answered,
		Transport:      f.transport,
		FlushInterval:  -1,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			why, client := body.Fault(err)
			switch {
			case errors.As(err, new(*undialled)):
				why = err
			case client:
				why = badRequest("reading the body of the request: %w", why)
			}
			f.fail(w, r, why)
		},
		ErrorLog: f.server.ErrorLog,
	}
	proxy.ServeHTTP(w, r)
}

// route returns where a request leads, and the path to ask for there: nil for
// its own.
func (f *forward) route(r *http.Request) (call dynamic.Call, path *url.URL, err error) {
	call.Client, _ = r.Context().Value(clientContextKey{}).(net.Addr)
	if call.User, err = f.s.userOf(r); err != nil {
		return call, nil, err
	}
	name, err := target(r)
	if err != nil {
		return call, nil, err
	}
	a := f.s.access.Load()
	if a.route == config.RoutePath {
		if err := a.fromAnotherSite(r); err != nil {
			return call, nil, &httpError{http.StatusForbidden, err}
		}
		if name, path, err = firstSegment(r); err != nil {
			return call, nil, err
		}
	}
	if name == "" {
		return call, nil, badRequest("the request names no service: it has no host")
	}
	call.To, err = a.destination(name, call.User, f.s.o.Destination)
	if err == nil && path != nil && a.keepPath {
		path = nil
	}
	return call, path, err
}

// target is the host that a request is for.
func target(r *http.Request) (string, error) {
	name, ok := rebinding.Hostname(r.Host)
	switch {
	case r.ProtoMajor != 1:
		return "", &httpError{http.StatusHTTPVersionNotSupported, fmt.Errorf("%s is not served: use HTTP/1.1", r.Proto)}
	case r.Method == http.MethodConnect:
		return "", badRequest("CONNECT must be the first request on its connection")
	case r.RequestURI == "*":
		return "", badRequest("%s * asks for no service: name one with a path", r.Method)
	case r.URL.Scheme != "" && r.URL.Scheme != "http":
		return "", badRequest("only http:// is forwarded: for %s, use CONNECT", r.URL.Scheme)
	case r.URL.Scheme != "" && r.URL.Host == "": // http:/path, and http:name, which a service would see as it is
		return "", badRequest("the URL %.80q has no host: write http://NAME/", r.RequestURI)
	case r.URL.User != nil:
		return "", badRequest("a user in the URL, where @ names no datacenter: write NAME.service.DATACENTER.consul")
	case !ok:
		return "", badRequest(notAHost, r.Host)
	}
	return name, nil
}

func badRequest(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Errorf(format, args...)}
}

// firstSegment takes the first segment of the path off.
func firstSegment(r *http.Request) (name string, rest *url.URL, err error) {
	segment, after, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if name, err = url.PathUnescape(segment); err != nil || name == "" {
		return "", nil, badRequest("the path does not begin with the name of a service")
	}
	plain, err := url.PathUnescape(after)
	if err != nil {
		return "", nil, badRequest("not a path: %w", err)
	}
	return name, &url.URL{Path: "/" + plain, RawPath: "/" + after}, nil
}

// rewrite makes the request that a service gets.
func rewrite(p *httputil.ProxyRequest, host string, path *url.URL) {
	p.Out.URL.Scheme, p.Out.URL.Host = "http", host
	p.Out.Host = p.In.Host
	if path != nil {
		p.Out.URL.Path, p.Out.URL.RawPath = path.Path, path.RawPath
	}
	// What the application says of its own clients is for the service to hear.
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = values
		}
	}
	p.Out.Header.Add("Via", "1.1 connect-proxy")
}

// poolKey names the connections that a request may share, as a host: those to the
// same destination on behalf of the same user, of one generation. The destination's
// String will not do: a service's name may look like another one's with its
// datacenter.
func (f *forward) poolKey(call dynamic.Call) string {
	to := call.To
	all := fmt.Sprintf("%q", []string{call.User, string(to.Type), to.Name, to.Namespace, to.Partition, to.Datacenter})
	return fmt.Sprintf("%d.%x.internal", f.generation.Load(), all)
}

// dial connects for the request of ctx.
func (f *forward) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	call, ok := ctx.Value(callKey{}).(dynamic.Call)
	if !ok {
		return nil, errors.New("the request has no destination")
	}
	c, err := f.s.o.Dial(ctx, call)
	if err != nil {
		return nil, &undialled{err}
	}
	return requestbody.NewConn(c), nil
}

// undialled is why there is no connection to a service. It is in the log as that
// connection's end.
type undialled struct{ err error }

func (e *undialled) Error() string { return e.err.Error() }
func (e *undialled) Unwrap() error { return e.err }

// refused logs a request that leads nowhere.
func (f *forward) refused(r *http.Request, status int, err error) {
	logged, left := f.refusals.Take(time.Now())
	if !logged {
		return
	}
	args := []any{"client", r.RemoteAddr, "status", status, "error", err}
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	f.s.o.Logger.Warn("request refused", args...)
}

// fail answers a request that gets no answer from a service.
func (f *forward) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	if status == http.StatusProxyAuthRequired {
		w.Header().Set("Proxy-Authenticate", challenge)
	}
	if !errors.As(err, new(*undialled)) && (r.Context().Err() == nil || errors.Is(err, requestbody.ErrLost)) {
		f.refused(r, status, err)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, oneLine(err)+"\n")
}
