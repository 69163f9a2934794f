// Package peer starts what the benchmark compares: connect-proxy, other
// proxies, and a bare pair of Go programs, each as two processes with TLS
// between them. It runs on Linux.
//
// A Lab holds what they share: a directory, certificates, ports, the
// application and a Consul agent. A Kind says how one of them is found, built
// and configured; a Pair is one that runs.
//
// Every process is the leader of a group of its own and is known to the guard,
// a process that ends them all should the benchmark die without having done so.
// Processes are waited for by the goroutine that start begins.
package peer
