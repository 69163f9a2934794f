package micro

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/micro/broker"
	"connect-proxy/listener"
)

const (
	// headerTime is how long a client may take over the header of a message.
	headerTime = 10 * time.Second
	// idleTime is how long a connection to a service is kept without a call.
	// Micro's clients keep theirs for a minute.
	idleTime = time.Minute
	// stallTime is how long nothing may move in a body.
	stallTime = time.Minute
	// maxHeader bounds the header of a message in either direction, in bytes.
	maxHeader = 64 << 10
	// maxKept is up to which size, in bytes, a body is read as a whole before it
	// is passed on: an answer that is whole cannot break off half-way.
	maxKept = 64 << 10
	// maxIdle is how many connections to services are kept between two calls, for
	// all clients together, and maxIdleOfClient for one.
	maxIdle         = 1024
	maxIdleOfClient = 32
	// restTime is for how long a connection to a service has no further call after
	// an answer, if there is another. A server of Go Micro 4 or 5 loses a call that
	// comes before it has put the last one away.
	restTime = 2 * time.Millisecond
	// maxResting is how many connections to one service there may be for that.
	maxResting = 16
	// grace is how long after a call's time the client may end it by itself: some
	// repeat what their own clock has ended, and nothing else.
	grace = time.Second
)

// Options are how a Server leads messages to services. All functions are
// required, and must be safe for concurrent use.
type Options struct {
	// Destination returns which destination a client means by the name of a
	// service. An error means that no destination has that name.
	Destination func(name string) (config.Destination, error)
	// Target connects to a destination for a stream, which is relayed.
	Target func(ctx context.Context, d config.Destination) (listener.Target, error)
	// Dial connects to a destination for calls of the client at an address, which
	// may be nil. Its errors, and those of the connection, decide the code of the
	// answer by their listener.Reason, if they have one.
	Dial func(ctx context.Context, d config.Destination, client net.Addr) (net.Conn, error)
	// Pages answers GET /stats/..., where a browser may ask for the dashboard, and
	// GET /health. It may set deadlines of the connection. Nil serves neither.
	Pages http.Handler
	// Catalog says which services subscribe to events; nil means that none does.
	Catalog broker.Catalog
	// Service returns the name of the proxy's own service. Required.
	Service func() string
	// Registry is what /registry shows. Required.
	Registry Registry
	// Registrar is where /registry registers. Required.
	Registrar Registrar
	// Logger may be nil.
	Logger hclog.Logger
}
