package edge

import "crypto/tls"

// wrapSession makes a ticket that is for the client's host alone.
func (e *Terminator) wrapSession(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
	s.Extra = append(s.Extra, []byte(hostOf(cs.ServerName)))
	return e.tls.EncryptTicket(cs, s)
}

// unwrapSession opens a ticket. crypto/tls asks for no certificate where a session is
// resumed, so that any name would pass; RFC 6066 3 forbids another than before.
func (e *Terminator) unwrapSession(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	s, err := e.tls.DecryptTicket(ticket, cs)
	if err != nil || s == nil || len(s.Extra) != 1 || string(s.Extra[0]) != hostOf(cs.ServerName) {
		return nil, err //nolint:nilnil // crypto/tls has it so: a full handshake
	}
	return s, nil
}
