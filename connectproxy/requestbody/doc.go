// Package requestbody follows the body of an HTTP request that is answered or passed on
// before all of it has come.
//
// Whatever is left of a body is never the client's next request: the service may have
// answered before it has read all, or what is left is no body, as behind a chunk whose
// size cannot be read, or is one by another reckoning. The connection then ends after
// the answer. And nobody waits for a client that sends nothing: a refusal is answered
// at once, and a service that ends its connection is told of at once, where net/http's
// server and transport would both wait for the rest of the body.
package requestbody
