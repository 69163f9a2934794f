package micro

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/micro/broker"
	"connect-proxy/connectproxy/rebinding"
	"connect-proxy/connectproxy/requestbody"
	"connect-proxy/listener"
	"connect-proxy/upstream/loglimit"
)

// Server answers clients of Micro. Its methods are safe for concurrent use.
type Server struct {
	o    Options
	http *http.Server
	// grpcServer is for clients that speak HTTP/2, and grpc is their way to services.
	grpcServer *http.Server
	grpc       *grpcPool
	// generation counts what connections to services were opened with.
	generation atomic.Int64
	rules      atomic.Pointer[rules]
	idle       atomic.Int64 // connections to services without a call
	// broker has the events, and events answers those that come from other proxies.
	broker *broker.Broker
	events *http.Server
	// answers are the agent's, for /registry.
	answers  *answers
	refusals loglimit.Limit
	held     memory // by calls of strangers
	// watchers are of the registry, subscribers of events.
	watchers, subscribers sockets
	// draining is closed by CloseIdle, once.
	draining chan struct{}
	drain    sync.Once
	// The times are fields for tests.
	idleTime, stallTime, bodyTime, grace, watchInterval, pingInterval, pongTime, messageTime time.Duration
}

// New makes a Server. It starts nothing, and allows nobody anything before Update.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	s := &Server{
		o: o, answers: newAnswers(), watchers: make(sockets, maxWatchers), draining: make(chan struct{}),
		idleTime: idleTime, stallTime: stallTime, bodyTime: publicBody, grace: grace,
		watchInterval: watchInterval, pingInterval: pingInterval, pongTime: pongTime, messageTime: messageTime,
	}
	s.rules.Store(&rules{block: "micro"})
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.handle),
		// OPTIONS * has no answer without a look at who asks.
		DisableGeneralOptionsHandler: true,

		ReadHeaderTimeout: headerTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          o.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ConnContext:       withClient,
		ConnState:         followConn,
	}
	s.grpcServer, s.grpc = s.newGRPCServer(), newGRPCPool(o.Dial, idleTime)
	s.newBroker()
	return s
}

// rules are what clients may do. They are immutable.
type rules struct {
	config.Micro
	block           string // of the configuration, by its name
	allow, register config.DestinationList
	topics          config.TopicList
	// Those of a PublicServer: the names it has, and what is taken from requests.
	hosts   map[string]bool
	headers headerRules
}

// Update puts c in force for messages from then on. An error names a destination
// of c that cannot be read, and leaves the former configuration in force.
func (s *Server) Update(c config.Micro) error {
	allow, err := config.NewDestinationList(c.Allow)
	if err != nil {
		return err
	}
	register, err := config.NewDestinationList(c.Register)
	if err != nil {
		return err
	}
	topics, err := config.NewTopicList(c.Topics)
	if err == nil {
		s.rules.Store(&rules{block: "micro", Micro: c, allow: allow, register: register, topics: topics})
	}
	return err
}

// CloseIdle closes the connections of clients that have no call under way, those
// of the others after their call, and websockets. It is for the drain: no
// connection is kept for a further call from then on.
func (s *Server) CloseIdle() {
	s.drain.Do(func() { close(s.draining) })
	s.http.SetKeepAlivesEnabled(false)
	s.grpcServer.SetKeepAlivesEnabled(false)
	s.grpc.reset(true)
}

// Reset has no connection to a service that is open now get further calls: what it
// was opened with is in force no more.
func (s *Server) Reset() {
	s.generation.Add(1)
	s.grpc.reset(false)
}

// Request reads the header of a client's first message, as a listener.RequestFunc.
// A client whose first message begins a stream (Micro-Stream) is relayed to its
// service; every other one is served until it goes. A stream that is refused is
// answered, and is an error with its listener.Reason.
func (s *Server) Request(_ context.Context, raw net.Conn) (listener.Request, error) {
	sent, err := readHead(raw)
	if err != nil {
		return listener.Request{}, err
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
	if err == nil && isMessage(r) && r.Header.Get(headerStream) != "" {
		return s.stream(raw, r, sent)
	}
	// What cannot be read is told so by the HTTP server.
	return listener.Request{Serve: func(ctx context.Context, conn net.Conn) { s.serve(ctx, s.newClient(conn, sent)) }}, nil
}

// headPiece is how much is read of a head at a time.
const headPiece = 4 << 10

// readHead reads to the end of the first header at least, or as much as a header
// may have.
func readHead(c net.Conn) ([]byte, error) {
	var b []byte
	for len(b) < maxHeader {
		b = append(b, make([]byte, headPiece)...)
		n, err := c.Read(b[len(b)-headPiece:])
		from := max(0, len(b)-headPiece-3)
		b = b[:len(b)-headPiece+n]
		if why := notHTTP(b); why != nil {
			return nil, why
		}
		switch {
		case bytes.Contains(b[from:], []byte("\n\r\n")), bytes.Contains(b[from:], []byte("\n\n")):
			return b, nil
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
	}
	return b, nil
}

// notHTTP says by its first byte that a client speaks something else, for which it
// would wait in vain.
func notHTTP(sent []byte) error {
	if len(sent) == 0 {
		return nil
	}
	switch sent[0] {
	case 0x16:
		return errors.New("the client speaks TLS: this port takes HTTP and gRPC without TLS")
	case 4, 5:
		return errors.New("the client speaks SOCKS: this port takes HTTP and gRPC; by_name takes SOCKS5")
	}
	return nil
}

// stream has a client relayed to the service that its first message names. What
// has been read goes there as it came.
func (s *Server) stream(raw net.Conn, r *http.Request, sent []byte) (listener.Request, error) {
	refuse := func(f *failure) {
		_ = raw.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = raw.Write(answerOf(r, f))
		lingerClose(raw)
	}
	d, f := s.destination(r)
	request := listener.Request{Sent: sent}
	if d.Name != "" {
		request.Destination = d
	}
	if f != nil {
		refuse(f)
		return request, listener.WithReason(reasonOf(f), f)
	}
	request.Dial = func(ctx context.Context) (listener.Target, error) { return s.o.Target(ctx, d) }
	request.Refused = func(why listener.Reason, err error) { refuse(undelivered(why, err)) }
	return request, nil
}

// handle answers one request of a client that is served.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	session := clientOf(r).session
	if !session.begin() {
		return // the client has gone
	}
	defer session.running.Done()
	if isMessage(r) {
		s.serveMessage(w, r)
		return
	}
	bounds := requestbody.Bounds{Stall: s.stallTime}
	if isEvent(r) {
		bounds.Stall = 0 // the broker has one for the whole
	}
	w, r, body := requestbody.Follow(w, r, bounds)
	defer body.End()
	switch rules := s.rules.Load(); {
	case s.isPage(r):
		s.servePage(w, r)
	case fromBrowser(r):
		s.refused(r, "", undelivered(listener.ReasonDenied, errBrowser))
		http.Error(w, errBrowser.Error(), http.StatusForbidden)
	case s.underOthersName(r):
		s.refused(r, "", undelivered(listener.ReasonDenied, errHostName))
		http.Error(w, errHostName.Error(), http.StatusForbidden)
	case rebinding.PageUnknown(r):
		s.refused(r, "", undelivered(listener.ReasonDenied, errPageUnknown))
		http.Error(w, errPageUnknown.Error(), http.StatusForbidden)
	case r.RequestURI == "*":
		http.Error(w, errNoPath.Error(), http.StatusBadRequest)
	case isPublished(r):
		s.broker.ServePublisher(w, r)
	case r.URL.Path == "/rpc":
		s.serveRPC(w, r)
	case r.URL.Path == "/registry":
		s.serveRegistry(w, r)
	case r.URL.Path == brokerPath:
		s.serveBroker(w, r)
	case rules.Handler == config.MicroProxy:
		s.forward(w, r, body, rules.Namespace)
	default:
		s.servePath(w, r, rules.Namespace)
	}
}

// isMessage reports whether r is a message of Micro for a service.
func isMessage(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/" && (r.Header.Get(headerService) != "" || r.URL.RawQuery == "")
}
