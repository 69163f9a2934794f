// Package admin is what a proxy tells the people and programs on its own
// machine, over HTTP on a loopback address or a unix socket:
//
//	GET /health   200 while the process runs, with all that it knows of itself
//	GET /ready    200 or 503, with the reasons why it is not ready
//
// Both answer with JSON. There is no authentication, which is why an address
// that other machines can reach is refused.
//
// What is told comes in as a function, so the package does not know the proxy. A
// Server owns the goroutines of its requests and Run returns when they have
// ended. An address that is taken is waited for, and never ends the proxy.
package admin
