// Package catalog finds the instances of upstreams in Consul's catalog: its
// Resolvers are what package upstream needs to know of Consul.
//
// # Resolvers
//
// A Resolver holds the latest set of a destination. Query executes a prepared
// query, and Chain follows a service's discovery chain. None of them holds a
// request at the agent: they ask in turns, often while the destination is in use
// and seldom at rest.
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
// # Use and rest
//
// A destination is in use for a minute after each connection. The first connection
// after a rest has the agent asked for all that its destination depends on, and
// waits for the answers for as long as its caller lets it.
//
// # Goroutines
//
// Run asks, in two goroutines for all destinations together: one for what is in
// this datacenter, one for what may lead to another. A Resolver has none.
package catalog
