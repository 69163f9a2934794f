// Package load is both ends of the benchmark's traffic: the application behind
// the proxies (Serve) and the clients in front of them. It knows nothing of
// what lies between.
//
// The first byte of a connection says what the application does with it: take
// everything, send for ever, or answer requests that say how long they and
// their answers are. So one connection can carry a transfer, rest, and answer
// again.
//
// Every function returns only after the goroutines that it started have ended,
// and ends early with its context.
package load
