// Package certfiles reads a certificate, its key and the CAs to trust from files, in
// PEM form or PKCS#12, and keeps them up to date: they are read again when their
// content changes, whether they are replaced all at once, one after the other, or
// through a symbolic link as in Kubernetes. If new files cannot be used, the last good
// ones stay in force. This is logged once, and only if it is still so at the second
// look, since a certificate and its key are usually replaced one after the other.
//
// New reads the files and starts nothing. Run checks them until its context ends, on
// the caller's goroutine. All methods are safe for concurrent use; what Current
// returns is immutable. Errors and logs never contain a key.
package certfiles
