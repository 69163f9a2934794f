// Package listener is one listening socket and the connections accepted from
// it. It knows neither Consul nor certificates: who a client is, whether it may
// pass and where the bytes go are functions that the caller gives it.
//
// Every connection takes the same steps, and ends at the first that fails:
//
//	limits → handshake → register → authorize → dial → relay → one Summary
//
// Nothing is dialled before authorization, so no stranger makes the
// application accept a connection. A connection is registered under its peer's
// identity before it is authorized: ClosePeers, called when a policy changes,
// then finds it whatever the moment, and the connection ends at its next step.
//
// A program can be one end itself: it accepts the clients of a public listener
// from an InProcess, in place of dial and relay, and opens far sides by
// Listener.Dial, in place of everything before. These connections are counted,
// limited, ended and told of like the others.
//
// # Who owns what
//
// New starts nothing. Run starts the acceptor and waits for it. Each connection
// has a goroutine until it is relayed; then it has none: package relay calls
// back when it has ended. A few of those goroutines wait for the next
// connection, until Run ends. A connection that is ended from outside (Drain,
// ClosePeers, the end of Run) is reset, so that nobody takes what came of it
// for the whole, and Run and Drain return after the Observer has been told of
// the last one.
//
// A connection is in one phase at a time, and its phase owns what has to be
// closed to end it (phase.go): whoever ends a connection from outside takes that
// and cannot close a socket which has passed to somebody else.
//
// An accepted socket belongs to the Listener until the relay takes it, also
// after a HandshakeFunc failed; a Target belongs to it once the DialFunc has
// returned.
package listener
