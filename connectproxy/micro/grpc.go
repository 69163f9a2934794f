package micro

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/listener"
)

const (
	// preface is what a client of HTTP/2 sends first (RFC 9113 3.4).
	preface = "PRI * HTTP/2.0\r\n"
	// maxStreams is how many calls of gRPC a client may have under way on one
	// connection.
	maxStreams = 250
	// streamWindow and clientWindow are how much of one call, and of all calls of
	// a connection together, is taken from a client ahead of the service, in bytes.
	streamWindow, clientWindow = 256 << 10, 1 << 20
	// grpcIdleTime is how long a client of gRPC may keep a connection without a
	// call. It opens another by itself.
	grpcIdleTime = 10 * time.Minute
)

// newGRPCServer is the HTTP server for clients that speak HTTP/2 from the first
// byte, as those of gRPC do.
func (s *Server) newGRPCServer() *http.Server {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: http.HandlerFunc(s.handleGRPC),
		// OPTIONS * is no call either.
		DisableGeneralOptionsHandler: true,

		Protocols:      &only,
		IdleTimeout:    grpcIdleTime,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       s.o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ConnContext:    withClient,
		ConnState:      followConn,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: clientWindow,
			// The client's own machine may go without a word.
			SendPingTimeout:  stallTime,
			WriteByteTimeout: stallTime,
		},
	}
}

// handleGRPC answers one call of gRPC.
func (s *Server) handleGRPC(w http.ResponseWriter, r *http.Request) {
	session := clientOf(r).session
	if !session.begin() {
		panic(http.ErrAbortHandler) // the client has gone
	}
	defer session.running.Done()
	select {
	case <-s.draining:
		w.Header().Set("Connection", "close") // has HTTP/2 say GOAWAY
	default:
	}
	if r.Method != http.MethodPost || !strings.HasPrefix(contentType(r), "application/grpc") {
		http.Error(w, "connect-proxy: HTTP/2 is for gRPC here: use HTTP/1.1 for everything else", http.StatusUnsupportedMediaType)
		return
	}
	to, failed := s.grpcDestination(r)
	if failed != nil {
		s.refused(r, strings.Trim(r.URL.Path, "/"), failed)
		s.failGRPC(w, r, failed)
		return
	}
	ctx := r.Context()
	if d := grpcTimeout(r.Header); d > 0 {
		var cancel context.CancelFunc
		ctx = context.WithValue(ctx, timeOver{}, time.Now().Add(d))
		ctx, cancel = context.WithTimeout(ctx, d+s.grace)
		defer cancel()
	}
	s.forwardGRPC(w, r.WithContext(ctx), to)
}

// grpcDestination is where a call goes, if it may: /greeter.Greeter/Hello is a
// method of the service greeter, and /go.micro.srv.greeter.Greeter/Hello one of
// go.micro.srv.greeter. No header says it: an application that calls another while
// it answers a call hands on the headers of that one, Micro-Service among them.
func (s *Server) grpcDestination(r *http.Request) (config.Destination, *failure) {
	if s.fromPage(r) {
		return config.Destination{}, undelivered(listener.ReasonDenied, errBrowser)
	}
	full, method, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	dot := strings.LastIndexByte(full, '.')
	if dot < 1 || method == "" || strings.Contains(method, "/") {
		return config.Destination{}, badRequest(errGRPCPath)
	}
	return s.named(full[:dot])
}

var errGRPCPath = errors.New("the path names no service: /greeter.Greeter/Hello is a method of the service greeter")

// forwardGRPC passes a call on, in both directions at once, and its trailers.
func (s *Server) forwardGRPC(w http.ResponseWriter, r *http.Request, to config.Destination) {
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", "service"
			p.Out.Host = p.In.Host
			// What the application says of its own clients is for the service to hear.
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, ok := p.In.Header[name]; ok {
					p.Out.Header[name] = values
				}
			}
		},
		Transport:      s.grpc.of(to),
		ModifyResponse: explainEnd,
		ErrorLog:       s.http.ErrorLog,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			s.failGRPC(w, r, grpcFailure(r.Context(), err))
		},
	}
	w.Header()["Date"] = nil // it is not ours to add
	proxy.ServeHTTP(w, r)
}

// failGRPC answers with an error of the proxy, as gRPC has it: a header and no
// more, which says that nothing of an answer has come.
func (s *Server) failGRPC(w http.ResponseWriter, r *http.Request, f *failure) {
	s.o.Logger.Debug("call failed", "client", r.RemoteAddr, "path", r.URL.Path, "code", f.code, "error", f)
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h["Date"] = nil
	maps.Copy(h, grpcStatus(f, r.Header))
	w.WriteHeader(http.StatusOK)
}

// grpcTimeout is how long a client waits for the end of a call, in its own words:
// those of gRPC, or of Micro, whichever is less. Zero is no limit.
func grpcTimeout(h http.Header) time.Duration {
	limit := timeoutOf(h)
	text := h.Get("Grpc-Timeout")
	if len(text) < 2 || len(text) > 9 {
		return limit
	}
	unit, ok := grpcUnits[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if !ok || err != nil {
		return limit
	}
	d := maxTimeout
	if n < uint64(maxTimeout/unit) {
		d = max(time.Nanosecond, time.Duration(n)*unit) // zero is a time that is over
	}
	if limit > 0 {
		return min(limit, d)
	}
	return d
}

// grpcUnits are gRPC's units of time.
var grpcUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}
