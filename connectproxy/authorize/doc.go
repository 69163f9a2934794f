// Package authorize judges the callers of a service by Consul's intentions: it
// asks the local agent, remembers its decisions, and asks again when the
// intentions change and when a decision has grown old. Open connections of an
// identity that is denied are cut.
//
// It fails closed: without a decision of the agent's nobody passes. While the
// agent cannot be asked, its former decisions hold for a bounded time. Run owns
// all goroutines; without it nobody is authorized.
//
// Of this package, Peers and Status are part of the API that docs/library.md
// promises.
package authorize
