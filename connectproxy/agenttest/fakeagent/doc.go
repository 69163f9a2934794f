// Package fakeagent is a small Consul agent for tests that need none: the
// endpoints that this project uses, with real blocking queries and a CA of its
// own, and faults on request. Its answers have the keys and headers of those
// recorded from real agents below testdata/agent.
//
// It is no model of Consul: what it holds is what the test puts into it, and
// nothing takes effect on anything else (an intention closes no connection, a
// check that is critical takes no instance out of the catalog). A promise of
// the program rests on the tests with real agents; this one makes the rare case
// easy to bring about.
//
// An Agent is safe for any goroutine. Its server and every request it holds end
// with the test.
package fakeagent
