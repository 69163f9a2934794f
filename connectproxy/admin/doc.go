// Package admin serves the people and programs on a proxy's own machine, over
// HTTP on a loopback address or a unix socket. A Server serves
// Pages; Readiness are those that every proxy has:
//
//	GET /health   200 while the process runs, with all that it knows of itself
//	GET /ready    200 or 503, with the reasons why it is not ready
//
// and Profiles are Go's. Others are added to the map.
//
// # Security
//
// There is no authentication, so an address that other machines can reach is
// refused unless Options allow it, and then only GET is answered, and browsers under
// no name that a stranger's page may have (package rebinding). A unix socket
// is for the proxy's own user alone. On a loopback address, which every user of
// the machine and every web page in a browser there can reach, requests under
// another host's name are refused, and so are those of other origins that may
// change something. What changes something is a POST and nothing else.
//
// # Life
//
// A Server owns the goroutines of its requests and Run returns when they have
// ended. An address that is taken is waited for, and never ends the proxy.
package admin
