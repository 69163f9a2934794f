// Package dynamic makes upstreams for destinations that are named at run time, when
// they are first used: a service that a client of a proxy protocol asks for, or the
// service in a message of an application. The engine opens each of them like a
// configured one, and upstreams with the same destination share a resolver. Package
// connectproxy has one Upstreams for all front ends.
//
// # For front ends
//
// A front end reads a name, turns it into a destination with
// config.ParseDestination, asks its config.DestinationList whether that is allowed,
// and then either
//
//   - relays: Upstreams.Target opens a far side for a listener.Request, whose bytes
//     are relayed like those of every other connection, or
//   - reads and writes itself: Dialer.Dial returns a Conn for that.
//
// The errors of both carry a listener.Reason (listener.ReasonOf), from which a front
// end makes the answer of its protocol.
//
// # Limits
//
// A destination for which the agent has shown no instance takes no place among those
// in use. Its name is remembered for a moment only, and both the number of unknown
// names that are looked up at a time and their rate are limited, so that clients
// which invent names can neither keep the agent busy nor fill the memory.
// Destinations in use are kept while they have connections, and for IdleTime after
// that. Beyond MaxUpstreams, the one that has not been used for longest and has no
// connection is dropped.
//
// # Goroutines
//
// Upstreams has none: its owner calls CloseIdle now and then. The connections of a
// Dialer are served by a listener.Listener, which its owner runs.
package dynamic
