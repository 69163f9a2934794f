// Command bench is `make bench`: it compares connect-proxy with other proxies on
// this machine and writes what it finds to docs/performance.md, with plots.
//
// Each of them is a pair of processes with mutual TLS between them, an
// application behind and clients in front, everything on 127.0.0.1. A row is one
// kind of work. Every round takes the rows in turn and, within a row, the
// pairs, so that whatever else the machine does meets all of them alike; what
// counts is the median of the rounds and the ratios.
//
// It is a benchmark and no test: it fails when it cannot measure, never because
// of a figure. It runs on Linux. A shortened run, and one on request, prints its
// tables and leaves the documents alone.
//
// One goroutine does the measuring. Processes belong to the peer package's Lab,
// which ends them all; so does the guard, if the benchmark itself is killed.
package main
