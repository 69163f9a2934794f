package agent

import "time"

// Status is about the way to the local agent. What belongs to TLS is empty
// without it.
type Status struct {
	// Address is the agent's, as it was given.
	Address string `json:"address"`
	// ClientCertificateNotAfter is the end of the certificate shown to it.
	ClientCertificateNotAfter time.Time `json:"client_certificate_not_after,omitzero"`
	// CANotAfter is that of the CA it is trusted by.
	CANotAfter time.Time `json:"ca_not_after,omitzero"`
	// CertificateNotAfter is that of its own, as seen at the last new connection.
	CertificateNotAfter time.Time `json:"certificate_not_after,omitzero"`
	// Problem is why newer files on disk are not in force; empty if nothing is
	// wrong.
	Problem string `json:"problem,omitempty"`
	// Requests counts the questions that were put to it, by what they were about
	// and by what they came to.
	Requests map[string]map[string]uint64 `json:"requests,omitempty"`
	// Outages counts how often it ceased to be reachable.
	Outages uint64 `json:"outages"`
	// Warnings name the certificates whose end is near, a sentence each.
	Warnings []string `json:"warnings,omitempty"`
}
