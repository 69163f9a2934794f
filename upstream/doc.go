// Package upstream is where an outgoing connection goes: it keeps the set of
// instances that a destination has, picks one for each connection, and tries the
// next when that one fails. It knows Consul's catalogue and neither certificates
// nor listeners: how one instance is reached and its identity proved is the
// caller's DialFunc.
//
// # Resolvers
//
// A Resolver holds the latest Set of a destination. NewService watches a service
// by a blocking query and NewQuery polls a prepared query; anything else that
// gives a Set, such as a discovery chain, can take their place.
//
// # Dial
//
// Nothing is asked of the agent on a connection's path: Dial reads the set from
// memory. It holds a connection until there is a first set, then tries distinct
// instances, one after the other, for as long as ConnectTimeout lasts. Never two
// at once: a race would double the handshakes just when instances are
// overloaded, and what it wins an instance that hangs costs once, since it is
// then set aside. One attempt may take a third of what is left while there are
// others to try, which at the default of 5 s leaves room for a lost SYN and its
// repetition after a second.
//
// # Set aside
//
// An instance that fails is left out for a time that grows with each further
// failure, then gets the next connection as a probe, one at a time. When all are
// set aside they are tried all the same.
//
// # Goroutines
//
// Run runs the Resolver and follows it, in two goroutines that it waits for.
// Dial starts none.
package upstream
