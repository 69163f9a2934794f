package listener

import (
	"net"
	"time"
)

// Observer is told of connections, for metrics. Its methods are called from
// many goroutines at once and on the connection's path: they must not block.
type Observer interface {
	// ConnOpened is called when an accepted connection starts to be relayed:
	// its peer is authorized and its far side is connected.
	ConnOpened(Open)
	// ConnClosed is called once for every accepted connection, after its
	// sockets are closed; Summary.Relayed says whether ConnOpened was called.
	ConnClosed(Summary)
}

// Open describes a connection that starts to be relayed.
type Open struct {
	// Listener is Options.Name.
	Listener string
	// Client is the remote address of the accepted socket.
	Client net.Addr
	// Peer is the SPIFFE ID on the network's side: the client's behind a public
	// listener, the instance's behind an upstream.
	Peer string
	// Instance is the address dialled.
	Instance string
}

// Summary describes a connection that has ended.
type Summary struct {
	Open
	// ToUpstream and ToClient are the application's bytes relayed each way.
	ToUpstream, ToClient int64
	// Duration is the time from accept to close.
	Duration time.Duration
	Reason   Reason
	// Err is what ended it, nil for ReasonClosed. It never holds a secret.
	Err error
	// Resumed says that the peer came with a session ticket.
	Resumed bool
	// Relayed says that the connection got as far as ConnOpened, and was not
	// refused by the far side afterwards.
	Relayed bool
}

// nopObserver is the default Observer.
type nopObserver struct{}

var _ Observer = nopObserver{}

func (nopObserver) ConnOpened(Open)    {}
func (nopObserver) ConnClosed(Summary) {}
