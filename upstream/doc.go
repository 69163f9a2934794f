// Package upstream is where an outgoing connection goes: it keeps the set of
// instances that a destination has, picks one for each connection, and tries the
// next when that one fails. It knows Consul's catalogue and neither certificates
// nor listeners: how one instance is reached and its identity proved is the
// caller's DialFunc.
//
// # Resolvers
//
// A Resolver holds the latest Set of a destination. NewService asks for a
// service's instances, NewQuery executes a prepared query, and NewChain follows
// a service's discovery chain. None of them holds a request at the agent: they
// ask in turns, often while the destination is in use and seldom at rest.
//
// # Discovery chains
//
// A chain is what service-resolver entries make of a name: a redirect, a subset,
// targets to fail over to, a connect timeout. It is asked for every
// DefaultChainPoll, from the agent's cache, while the destination is in use. A
// change of an entry is seen within that time, a change of health as fast as
// without chains.
//
// The first target with healthy instances is the destination. Those after it
// are neither dialled nor asked for, until it has none; once it has some again,
// new connections go back to it. A target that does not answer is waited for a
// moment, and one that the agent has failed on for long, while it answers for
// others, gives way to those.
//
// Routes and splits are HTTP's and are passed over, with a warning: the chain is
// then what its resolvers say. Targets in a cluster peering are passed over too.
// Where the agent knows no chains (before Consul 1.6) or does not show them to
// the token, the name is resolved as it stands, and the log says so once.
//
// # Mesh gateways
//
// A target in another datacenter is dialled directly, at its WAN address, unless
// a mesh gateway mode says otherwise: then the connection goes to a gateway of
// this datacenter ("local") or, by its WAN address, of the target's ("remote"),
// which hands it on by its server name. It is the service behind it that proves
// its identity. Gateways are found by their kind in the catalog and polled. A
// target counts as healthy by its own instances, not by the gateways. Prepared
// queries are dialled directly, as Consul has it.
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
// Dial starts none. A chain's Run has one for the chain, one to choose, and for
// each target that matters those of its watches; it waits for all of them.
package upstream
