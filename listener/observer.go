package listener

import (
	"fmt"
	"net"
	"time"
)

// Observer is told of connections, for metrics and the access log. Its methods
// are called from many goroutines at once and on the connection's path: they
// must not block.
type Observer interface {
	// ConnOpened is called when an accepted connection starts to be relayed:
	// its peer is authorized and its far side is connected.
	ConnOpened(Open)
	// ConnClosed is called once for every accepted connection, after its
	// sockets are closed; Summary.Relayed reports whether ConnOpened was called.
	ConnClosed(Summary)
}

// Open describes a connection that starts to be relayed.
type Open struct {
	// ID numbers the connections of this process, from 1.
	ID uint64
	// Listener is Options.Name.
	Listener string
	// Start is when the connection was accepted.
	Start time.Time
	// Client and Local are the remote and the local address of the accepted
	// socket.
	Client, Local net.Addr
	// SessionInfo is the TLS session with the peer in the mesh: the client's
	// behind a public listener, the instance's behind an upstream. Its zero
	// value is a connection that did not get so far.
	SessionInfo
	// Instance is the far side; its zero value is a connection that has none.
	Instance Instance
	// Destination is where the client asked to go; nil where the listener leads to
	// one place.
	Destination fmt.Stringer
	// User is who the client said it is; empty where it said nothing.
	User string
	// Dialling is when its far side began to be dialled; zero before.
	Dialling time.Time
	// Handshake, Authorization and Dial are the times that these steps took;
	// zero for a step that was not taken or did not succeed.
	Handshake, Authorization, Dial time.Duration
}

// Summary describes a connection that has ended.
type Summary struct {
	Open
	// ToUpstream and ToClient are the application's bytes relayed each way.
	ToUpstream, ToClient int64
	// Duration is the time from accept to close.
	Duration time.Duration
	// Reason is why it ended.
	Reason Reason
	// Err is what ended it, nil for ReasonClosed. It never holds a secret.
	Err error
	// Relayed reports whether the connection got as far as ConnOpened, and was
	// not refused by the far side afterwards.
	Relayed bool
	// Served reports whether the client's Request was served in place of being
	// relayed.
	Served bool
}

// nopObserver is the default Observer.
type nopObserver struct{}

var _ Observer = nopObserver{}

func (nopObserver) ConnOpened(Open)    {}
func (nopObserver) ConnClosed(Summary) {}
