// Package healthcheck asks an application through a URL whether it is healthy. It
// asks from the sidecar's machine, so that this works in whatever network the agent
// is.
//
// A Checker starts nothing by itself. Run is its only goroutine, besides those of the
// HTTP client, which end with each check.
package healthcheck
