// Package agenttest gives tests real Consul agents, the program itself as a
// child process, and what goes between the two: as httptest does for HTTP.
//
// Managed is the last Consul that launches proxies itself, Modern the newest
// one that the project pins. Either is a server of its own on free loopback
// ports with a temporary data directory; it is ready (a leader, a CA) when the
// call returns and gone, with every proxy it launched, when the test ends.
//
// Every helper fails the test it was made with rather than return an error, so
// it must be called on that test's goroutine. Waiting is done by Eventually.
//
// Processes are owned by their starters: one goroutine each waits for the child
// and ends with it. A child is in a process group of its own, and the kernel
// kills it with the test process where it can (Linux).
package agenttest
