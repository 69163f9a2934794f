// Package register keeps a proxy registered with the local agent for as long as it
// runs, if nobody else registers it, and the application behind it if the
// configuration says so. Each registration has a check with a time to live. The
// check of the proxy has the result of /ready, and is critical too while that of its
// application is.
//
// If the agent is down or has forgotten the registration, it is tried again after
// growing waits, with one warning. When Run's context is done, everything is
// deregistered within a bounded time. Run is the only goroutine.
//
// Of this package, Options is part of the API that docs/library.md
// promises.
package register
