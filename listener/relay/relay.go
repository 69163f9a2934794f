package relay

import (
	"fmt"
	"net"
	"sync"
	"time"

	"connect-proxy/listener/secure"
)

// Options bound one connection.
type Options struct {
	// IdleTimeout ends a connection on which nothing has moved for so long;
	// zero means never.
	IdleTimeout time.Duration
	// MaxLifetime ends a connection of that age; zero means never.
	MaxLifetime time.Duration
	// HalfCloseTimeout ends a connection of which one direction has ended and
	// on whose other nothing has moved for so long; zero means never.
	HalfCloseTimeout time.Duration

	// Replay keeps what the client sends, up to so many bytes, until the
	// upstream sends something: an upstream that refuses the connection before
	// that (secure.RefusalOf) ends it as Refused, with the client's side left
	// open for another. Zero keeps nothing. The client must be a plain socket.
	Replay int
	// First goes to the upstream before what the client sends from now on:
	// what an upstream before has refused (Undelivered.Sent).
	First []byte

	// Counters count this connection's bytes besides others'; nil counts none.
	Counters *Counters
}

// hasTimer reports whether o limits a connection from its start.
func (o Options) hasTimer() bool { return o.IdleTimeout > 0 || o.MaxLifetime > 0 }

// End says how a connection ended.
type End uint8

const (
	// Clean is both directions ended by their senders.
	Clean End = iota
	// ClientReset and UpstreamReset are a side that broke off: a TCP reset, TLS
	// cut short or violated, a peer that is dead (deadpeer.Err). Result.Err says
	// which.
	ClientReset
	// UpstreamReset is ClientReset on the other side.
	UpstreamReset
	// Idle is Options.IdleTimeout.
	Idle
	// Lifetime is Options.MaxLifetime.
	Lifetime
	// HalfClose is Options.HalfCloseTimeout.
	HalfClose
	// Closed is a call of Relay.Close or Engine.Close.
	Closed
	// Refused is an upstream that refused the connection before anything was
	// delivered (Options.Replay).
	Refused
)

// String is a phrase for people.
func (e End) String() string {
	names := [...]string{"clean", "client reset", "upstream reset", "idle", "lifetime", "half-close", "closed", "refused"}
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("end %d", uint8(e))
}

// Result is what became of a connection.
type Result struct {
	// ToUpstream and ToClient count the application's bytes that were handed to
	// the kernel for that side.
	ToUpstream, ToClient int64
	// End is how it ended.
	End End
	// Err says why a side broke off; nil unless End is ClientReset,
	// UpstreamReset or Refused.
	Err error
	// UpstreamFirst is set where it was the upstream that ended its direction
	// first, or broke off.
	UpstreamFirst bool
	// Undelivered is what is left of a connection that was refused; nil unless
	// End is Refused.
	Undelivered *Undelivered
}

// Undelivered is the client's side of a connection that was refused, open and the
// caller's, and what came from it, which goes to the next upstream first
// (Options.First).
type Undelivered struct {
	// Client is the client's connection.
	Client net.Conn
	// Sent is what came from the client.
	Sent []byte
}

// Conn is what a relay needs of a connection that no event loop can take.
type Conn interface {
	net.Conn
	// CloseWrite ends the sending direction and leaves the other open.
	CloseWrite() error
}

// Engine relays connections. Its methods are safe for concurrent use.
type Engine struct {
	mu        sync.Mutex
	closed    bool
	copying   map[*copier]struct{}
	work      sync.WaitGroup // loops, copying goroutines, callbacks and reclaimer
	loops     loops
	reclaimer reclaimer
	stop      chan struct{} // closed by Close
}

// New returns an Engine; it starts nothing.
func New() *Engine {
	return &Engine{copying: make(map[*copier]struct{}), stop: make(chan struct{})}
}

// Relay is a connection that an Engine serves.
type Relay struct{ close func() }

// Close breaks the connection off, with a reset to both sides. It does not
// wait, and does nothing once the connection has ended.
func (r *Relay) Close() { r.close() }

// Start relays between client and upstream, which it owns from now on, and
// calls done once, from a goroutine of its own, when the connection has ended
// and both are closed.
func (e *Engine) Start(client, upstream net.Conn, o Options, done func(Result)) *Relay {
	finish := func(r Result) {
		defer e.work.Done()
		done(r)
		e.countChange()
	}
	e.mu.Lock()
	e.work.Add(1)
	if e.closed {
		e.mu.Unlock()
		secure.Abort(client)
		secure.Abort(upstream)
		go finish(Result{End: Closed})
		return &Relay{close: func() {}}
	}
	l := e.loops.pick(e)
	e.mu.Unlock()
	e.countChange()
	if r, ok := l.start(client, upstream, o, finish); ok {
		return r
	}
	return e.copy(client, upstream, o, finish)
}

// countChange tells the reclaimer of a connection that has come or gone and is still
// counted in work.
func (e *Engine) countChange() {
	if e.reclaimer.count() {
		e.work.Go(func() { e.reclaimer.run(e.stop) })
	}
}

// Close breaks every connection off and returns when all callbacks have.
func (e *Engine) Close() {
	e.mu.Lock()
	if !e.closed {
		close(e.stop)
	}
	e.closed = true
	for c := range e.copying {
		c.stop(Closed)
	}
	e.loops.close()
	e.mu.Unlock()
	e.work.Wait()
}
