// Package secure carries TLS connections: the handshake of either side, by
// crypto/tls, and afterwards the records, by code of this package where that pays.
//
// A TLS 1.3 connection can be detached from crypto/tls once its handshake is
// done (Conn.Detach): what is left is a socket and a Records, which seals and
// opens whole batches of records in the caller's buffers. A relay so needs one
// system call where crypto/tls makes one for each 16 KiB, and an idle
// connection keeps no buffers, no handshake state and no goroutine. The same
// place is where kernel TLS would take over: it wants the traffic secrets and
// the sequence numbers, and nothing else.
//
// The secrets come from crypto/tls through Config.KeyLogWriter, which each
// connection has for itself (see secrets): nothing that a peer sends decides
// whose they are. They stay in this package: nothing here formats, logs or
// exports them. What they protect is checked before it is relied on: a
// connection whose records do not open with them stays with crypto/tls.
//
// What touches a cipher is in package record; here is what a record's content
// means (Records), where the secrets come from (secrets, Conn) and how a
// connection changes hands (Detach). After a violation of the protocol the
// alerts are crypto/tls's; differential tests and a fuzzer hold the two equal.
//
// Of this package, Config, Conn without Detach and Detachable, and Refusal are part of
// the API that docs/library.md promises.
package secure
