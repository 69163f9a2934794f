// Package relay moves bytes between the two sockets of a connection until both
// directions have ended: half-closed streams stay open, a reset goes on as a
// reset, and nothing that was acknowledged to a sender is dropped while its
// receiver still reads.
//
// An Engine has two ways to do it. On Linux, TCP and unix sockets whose TLS can
// be detached (package secure) are served by a few event loops over epoll: a
// connection is then a small structure, without goroutine, timer or buffer of
// its own while nothing moves, and a loop reads, seals or opens, and writes
// with one system call each for up to 256 KiB, in memory that stays in the
// processor's cache. Everywhere else two goroutines copy.
//
// Loops come in pairs, one for connections that move little and one for the
// others, and turns are charged by what they cost, so that neither bulk nor a
// flood of records that carry nothing holds up anybody else's request. Between
// two turns a connection can be handed over to the other loop of its pair; it
// belongs to exactly one.
//
// Goroutines: Engine starts its loops with the first connection and Close waits
// for them, for the copying goroutines, for the callbacks and for the one that
// gives memory back after many connections.
package relay
