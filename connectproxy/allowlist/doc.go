// Package allowlist decides which certificates may connect, by patterns for the
// identities in them. It does not verify certificates: the caller has to do that first.
//
// A pattern is one of
//
//	spiffe://example.org/ns/*/svc/web   a SPIFFE ID; * stands for one segment
//	https://example.org/team/*          any other URI, in the same way
//	dns:api.example.org, dns:*.example.org   a DNS name; * stands for its first label
//	cn:client-7                         the common name of the subject
//	*                                   every certificate that its CA has issued
//
// Case is ignored in trust domains, hosts and DNS names; everything else is compared
// exactly. According to SPIFFE, a certificate with more than one URI has no SPIFFE ID,
// so it matches no pattern for one. A name in a certificate that is itself a wildcard
// matches nothing. A pattern that no certificate can match is an error, since somebody
// believes that it lets someone in.
//
// The names in a certificate are compared as one text, made by TextOf. The text is
// unambiguous, and is kept so that a peer can be judged again when the list changes: no
// name in a certificate can look like a name of another kind, or like two names.
//
// A List is immutable, and safe for concurrent use. One without patterns allows
// nobody.
package allowlist
