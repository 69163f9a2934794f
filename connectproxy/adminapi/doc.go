// Package adminapi is what a running proxy tells about itself over HTTP, and the
// few things that can be done to it: pages for an admin.Server, over a Source
// that knows the proxy. The same types are what commands read.
//
//	GET  /                    a dashboard, for people
//	GET  /proxy               who it is, and whether it is ready
//	GET  /connections         who talks to whom now
//	POST /connections/close   ends the one of ?id=
//	GET  /upstreams           destinations and their instances
//	GET  /certificates        the proxy's own, and the roots it trusts
//	GET  /intentions          decisions about callers, and their age
//	GET  /config              each setting in force, and where it is from
//	GET  /events              what has happened lately; ?since= an event's ID
//	GET  /reasons             why connections are refused, in words
//	GET  /loglevel            the log's level
//	POST /loglevel            sets it to ?level=
//
// and those of Envoy's admin interface that tools ask for and that cost nothing:
// /server_info, /clusters, /certs, /logging and /stats.
//
// # Security
//
// Nothing here is a secret, and there is none in a Source: no key, no token. But
// peers and clients put names of their choice into it, so the dashboard adds
// everything to its page as text, under a content security policy that allows no
// script but its own file. Who may ask at all is the admin.Server's to decide.
//
// The package starts no goroutine. A page is written in pieces, each within a
// time: who reads slowly holds nothing for long.
package adminapi
