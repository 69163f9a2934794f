// Package devagent is a Consul agent in one process, without a cluster and
// without a disk: the part of the agent's HTTP API that this proxy uses, a CA
// made at start, services with their checks, intentions, resolvers and prepared
// queries. It is for trying, testing and teaching. What it holds is gone when
// it ends, whoever may talk to it may do everything, and nothing of it is meant
// for production.
//
// An answer has the status, the headers, the keys and the meaning that Consul
// 1.15.4 gives it, or Consul 1.5.3 with Options.Managed: one table of requests
// is run against it and against both. What it does not know it says by the
// status of an agent that does not know it, and it refuses what it could only
// half honour, such as the config entries of HTTP routing.
//
// New starts nothing. Run serves on a listener of the loopback and makes the
// checks of services until its context ends; it owns the goroutine of each
// check and waits for all of them. Every other method may be called by any
// goroutine, before Run too. A request must name a loopback host, so that no
// web page reaches the agent by a name that it made point here.
package devagent
