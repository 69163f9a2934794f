// Package watch keeps one answer of a Consul agent fresh in memory. It is the
// only loop in this program that asks an agent again and again: certificates,
// endpoints, intentions and registrations are all a Watch of their own type,
// so that back-off, index rules and logs are right in one place.
//
// It knows nothing of Consul's API: a Fetch asks one question, and the caller
// maps a Cursor to the API's index or hash.
//
// # Lifecycle
//
// New starts nothing. Run asks one question after the other, each on a goroutine
// that it waits for. Latest, Changed, Status, Refresh and Wait are safe for
// any goroutine, before, during and after Run, and Latest never blocks.
//
// # Failure
//
// The last good value survives every error. An error forgets the cursor, so
// that the first request after it is answered at once: recovery is seen when it
// happens, and an agent that came back with other data is not asked to wait for
// an index that it will never reach.
//
// # Time
//
// All times are the monotonic clock's. A clock that is set, forwards or
// backwards, neither hurries nor delays a request and makes no value stale. A
// machine that was suspended resumes where it was: with the agent on the same
// machine, both have slept, and a question left open is still open.
//
// Of this package, Freshness is part of the API that docs/library.md
// promises.
package watch
