// Package micro is the local side of the mesh for applications made with Micro
// (Go Micro): one port on which every service can be called by its name.
//
// A Micro client that is given the address of a proxy (MICRO_PROXY) sends all its
// calls there, as HTTP/1.1 POST requests whose header Micro-Service names the
// service. It sends one request at a time on each connection, and each may be for
// another service. So messages are routed, and not connections. Their contents are
// not looked into: there is no codec here, and none is needed.
//
// # Calls
//
// A call needs a connection to an instance of the service that carries no other
// call, since Micro servers mix up two calls that are under way at the same time.
// Such a connection is used for one client connection only: Micro servers answer
// with the headers of the first request on a connection, which nobody else may see.
// It is kept between calls, within limits, and is used again only if the last answer
// was read to its end and nothing followed it. A Micro server may lose a call that
// arrives right after another one, so the connections to a service take turns.
//
// # Streams
//
// A message with the header Micro-Stream begins a stream; clients send it on a
// connection of its own. From then on both sides send whenever they like, so the
// connection is relayed like any other.
//
// # Websockets
//
// For pages that are websockets, serveSocket does everything except produce and
// handle the messages: limits, pings, the time that a client may take to read, and
// the end. Each client that watches the registry compares what it has been told with
// the agent's current answer, which all of them share, so nothing is queued.
//
// # gRPC
//
// A client that begins with HTTP/2 speaks gRPC, and the path of a call says where it
// goes. Both sides use net/http for HTTP/2. All clients share the connections to
// services; before each call it is checked that what a connection was opened with is
// still in force.
//
// # Errors
//
// An error of the proxy is an answer as Micro has it: status 200 and a header
// Micro-Error. Its code tells whether it is safe to repeat the call: 408 is used
// only if nothing was sent, since clients repeat such calls by themselves; 500 is
// never used, since old clients repeat that too.
//
// # Goroutines
//
// A Server starts nothing by itself; its clients are served by the goroutines of a
// listener.Listener. While a client is served, there are also the goroutines of the
// HTTP server and one for each connection to a service; serve waits for these and
// for the client's gRPC calls. The connections that gRPC calls share are closed when
// they have no call, and by Reset and CloseIdle at the latest.
package micro
