// Package identity is who a proxy is in a Consul mesh, and how it knows others:
// the leaf certificate of its service and the mesh's roots, fetched from the
// local agent and kept fresh, handshakes in both directions, and the
// verification of peers.
//
// Leaf and roots that are in force together are a generation, which does not
// change: a handshake works on the one it began with, under ticket keys of its
// own. Peers are verified by the latest roots all the same. A resumed session is
// verified as a full handshake is.
//
// The last good leaf and roots survive every error until they expire. Run owns
// all goroutines: two watches and one that puts in use what they bring.
//
// Of this package, ServerTLS, Status and MeshStatus are part of the API that docs/library.md
// promises.
package identity
