// Package edge secures connections of strangers: clients outside the mesh, who show
// no certificate of their own and check the server's by a public CA, as browsers
// do. What they ask for then is for whoever serves the connection.
//
// Certificates come from files, which are read again when they change, or from a CA
// by ACME (RFC 8555, with the challenge tls-alpn-01 of RFC 8737, by
// github.com/mholt/acmez). They are for the names that are configured. A client that
// names none of them, or none at all, is refused in the handshake, also where it
// resumes a session, and no client causes an order: Run makes them, and a handshake
// finds what is there.
//
// # Orders
//
// One is made at a time, for one host, and has five minutes. What the CA gives is
// used only if it is for that host and the key that was made for it, is valid now,
// and is no longer than chains are; what it says is bounded, asked for by TLS alone,
// and never a redirect. Key and chain are kept in a file of a directory that is for
// that CA alone, as is the account's key; neither is used where others may read it.
// A certificate is ordered anew in the last third of its life. Open connections stay
// as they are then: a certificate says who a server is when they begin.
//
// # Failure
//
// A certificate that cannot be renewed stays in use, with a warning a day from the
// last quarter of its life on. Where there is none yet, handshakes fail, Problems says
// why, and Run tries again, after a minute first and after an hour at last.
//
// # Goroutines
//
// New starts none; Run is the caller's, and nothing it has started outlasts it but the
// end of a connection to the CA that it has closed.
package edge
