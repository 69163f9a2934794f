package connectproxy

import (
	"bytes"
	"crypto/tls"
	"sync/atomic"
)

// ticketMark stands, in clear, in front of every session ticket that a server
// of this program gives out. It says that the server judges a resumed session
// as it does a full handshake, certificate, identity and intentions. Another
// server may judge full handshakes alone; a client that resumed there would
// pass where it should have been refused, so ours keeps marked tickets only.
//
// It is a hint between honest parties and needs no protection: a server that
// wears it falsely deceives no one but itself.
const ticketMark = "connect-proxy/1\n"

// markTickets makes cfg give out marked tickets and take no others. The keys
// that encrypt them are cfg's own, made by crypto/tls at its first use and
// changed daily: a ticket is good for the configuration that gave it and for
// no other.
func markTickets(cfg *tls.Config) {
	cfg.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ticket, err := cfg.EncryptTicket(cs, ss)
		if err != nil {
			return nil, err
		}
		return append([]byte(ticketMark), ticket...), nil
	}
	cfg.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		ticket, ok := bytes.CutPrefix(identity, []byte(ticketMark))
		if !ok {
			return nil, nil
		}
		return cfg.DecryptTicket(ticket, cs)
	}
}

// session is the client's side: the last session with one instance under one
// expected identity, so no key is needed. It belongs to one generation and is
// dropped with it.
type session struct {
	last atomic.Pointer[tls.ClientSessionState]
}

var _ tls.ClientSessionCache = (*session)(nil)

// Get returns the session to resume.
func (s *session) Get(string) (*tls.ClientSessionState, bool) {
	last := s.last.Load()
	return last, last != nil
}

// Put keeps a session whose ticket is marked. Any other also forgets the one
// before: another program now answers at the address.
func (s *session) Put(_ string, cs *tls.ClientSessionState) {
	ticket, _, err := cs.ResumptionState()
	if err != nil || !bytes.HasPrefix(ticket, []byte(ticketMark)) {
		cs = nil
	}
	s.last.Store(cs)
}

// forget makes the next handshake a full one.
func (s *session) forget() { s.last.Store(nil) }
