// Package statsd sends metrics to statsd, statsite or a Datadog agent.
//
// A Sender collects all metrics every few seconds and sends by how much counters have
// grown. What could not be sent becomes part of the next round, so that a receiver
// which was away for a moment misses nothing. A Sender has one goroutine and one
// socket, all steps are bounded in time, and nobody ever waits for it.
//
// The lines are written here rather than by a library, since the existing ones silently
// drop what they cannot send, send counts as 32-bit floats, or leave a goroutine behind
// that nobody can wait for.
package statsd
