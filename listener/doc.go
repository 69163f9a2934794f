// Package listener is one listening socket and the connections accepted from
// it. It knows neither Consul nor certificates: who a client is, whether it may
// pass and where the bytes go are functions that the caller gives it.
//
// Every connection climbs the same ladder, and falls off it at the first rung
// that does not hold:
//
//	limits → handshake → register → authorize → dial → relay → one Summary
//
// Nothing is dialled before authorization, so no stranger makes the
// application accept a connection. A connection is registered under its peer's
// identity before it is authorized: ClosePeers, called when a policy changes,
// then finds it whatever the moment, and the connection ends at its next rung.
//
// # Who owns what
//
// New starts nothing. Run starts the acceptor and waits for it. Each connection
// has a goroutine while it climbs the ladder; once it is relayed it has none:
// package relay calls back when it has ended. A few of those goroutines wait for
// the next connection, until Run ends. A connection that is cut (Drain,
// ClosePeers, the end of Run) is reset, so that nobody takes what came of it
// for the whole, and Run and Drain return after the last one has been told of.
//
// An accepted socket belongs to the Listener until the relay takes it, also
// after a HandshakeFunc failed; a Target belongs to it once the DialFunc has
// returned.
package listener
