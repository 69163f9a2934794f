// Package queue lets all questions of a proxy to its agent take turns on at most
// MaxConnections connections.
//
// An agent counts connections by the client's address, and all sidecars of a
// machine have the same one: what one of them holds, the others cannot have.
// Transport is the only way to the agent, so no part of the program can open one
// connection too many.
//
// # Lanes
//
// A question that waits for a change holds a connection for as long as it
// waits. One such question is let through at a time, and one connection at least
// is left to those that are answered at once. Of these two are under way at a
// time, at most one that the agent must ask its servers about and at most one
// that leads to another datacenter: if such a question hangs, what the agent
// answers by itself still gets through. The second waits for a moment for the
// end of the first, so that questions which come together and are answered as
// quickly as is usual have one connection in turn. Waiting questions go in the
// order of their lanes, and within a lane as they came.
//
// # Failure
//
// An agent that refuses or resets connections, or answers 429, is left alone
// for a time that grows to MaxBackoff, part of it chance. Until then questions
// fail at once with an *Unreachable, without a connection; after it one of them
// is let through, and the rest once that one has been answered. The log has one
// line a minute of it.
package queue
