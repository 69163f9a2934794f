// Package record protects and opens single TLS 1.3 records (RFC 8446 5) with
// keys that it is given. It is the only part of this program that touches an
// AEAD, and it does nothing else: no I/O, no handshake messages, no secrets from
// which keys are derived, and no import of another package of ours.
//
// Whoever audits the records begins here. What a record's content means is
// package secure's business.
package record
