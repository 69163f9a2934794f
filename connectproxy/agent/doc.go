// Package agent is the HTTP client of the local Consul agent: its address, the
// token and the TLS files, which may be replaced while the program runs, and
// errors that say who is to blame. It has at most three connections to the agent,
// by way of connectproxy/queue.
//
// NewClient starts nothing; FollowTLS has the one goroutine, whose stop waits for
// it. What an agent's answers mean is known by those who ask.
package agent
