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
// New starts nothing. Run starts the acceptor and is the only thing to end it;
// a connection's goroutines belong to the Listener, which closes what they hold
// and waits for them before Run and Drain return. A handshake runs on a worker
// whose stack has grown for it and serves the next one; the relay, which may
// last for days, starts on a goroutine of its own with a small stack. An
// accepted socket belongs to the Listener until it ends, also after a
// HandshakeFunc failed; a Target belongs to it once the DialFunc has returned.
package listener
