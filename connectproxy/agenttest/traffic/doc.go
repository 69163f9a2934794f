// Package traffic stands in front of an HTTP handler that answers as a Consul
// agent does, counts what is asked of each endpoint, and spoils answers on
// request. The recorder puts it before a real agent, package fakeagent before
// the agent of package devagent.
//
// It starts no goroutine. A request that a fault holds is let go by Heal, by
// Close, or by its client.
package traffic
