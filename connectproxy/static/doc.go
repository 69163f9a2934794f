// Package static provides identity and authorizer without Consul: a certificate, its
// key and the CAs to trust from files, a list of patterns for those who may call, and
// Plaintext for destinations that are not secured.
//
// Files are read again when their content changes. The certificate and CAs that are in
// force together are a generation, which is immutable: a handshake uses the one that it
// began with. Peers are nevertheless verified with the latest CAs, in resumed sessions
// and full handshakes alike, and both are judged by the list in force.
//
// A peer is identified by the text of all names in its certificate, which is all that
// the list is compared with. So an Authorizer that replaces another one can judge the
// peers that are connected by that text, without remembering anybody.
//
// If files become unusable, the last good ones stay in force until they expire. Run
// owns the only goroutine, which checks the files.
package static
