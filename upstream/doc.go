// Package upstream is where an outgoing connection goes: it picks one of the
// instances that a destination has, for each connection, and tries the next when
// that one fails. It knows neither where instances are found, which is its
// Resolver's, nor certificates or listeners: how one instance is reached and its
// identity proved is the caller's DialFunc. Package upstream/catalog has the
// Resolvers of Consul's catalog.
//
// # Dial
//
// Nothing is asked on a connection's path while the destination is in use: Dial
// reads the set from memory. It holds a connection until there is a first set,
// then tries distinct instances, one after the other, for as long as
// ConnectTimeout lasts and up to 256 of them. Never two at once: a race would double the handshakes
// just when instances are overloaded, and what it wins an instance that hangs
// costs once, since it is then set aside. One attempt may take a third of what is
// left while there are others to try, which at the default of 5 s leaves room for
// a lost SYN and its repetition after a second.
//
// # Set aside
//
// An instance that fails is left out for a time that grows with each further
// failure, then gets the next connection as a probe, one at a time. When all are
// set aside, a connection tries up to sixteen of them all the same.
//
// # Goroutines
//
// There are none: an Upstream is told of a change by its Resolver, and remembers
// nothing of instances before the first connection.
package upstream
