package mtls

import (
	"bytes"
	"crypto/tls"
	"sync/atomic"
)

// ticketMark stands, in clear, in front of every session ticket that a server
// of this program gives out. It means that the server judges a resumed session
// as it does a full handshake, certificate, identity and intentions. Another
// server may judge full handshakes alone; a client that resumed there would
// pass where it should have been refused, so clients of this program keep marked tickets only.
//
// It is a hint between honest parties and needs no protection: a server that
// claims it falsely harms itself alone, since it lets in callers that it meant
// to refuse.
const ticketMark = "connect-proxy/1\n"

// MarkTickets makes cfg give out marked tickets and take no others. The keys
// that encrypt them are cfg's own, made by crypto/tls at its first use and
// changed daily: a ticket is good for the configuration that gave it and for
// no other. It is called before cfg is used.
func MarkTickets(cfg *tls.Config) {
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

// ClientSession is the tls.ClientSessionCache of a client for one instance under one
// expected identity: it holds the last session alone, whatever the key. It belongs
// to one generation and is dropped with it. The zero value holds none. It is safe
// for concurrent use.
type ClientSession struct {
	last atomic.Pointer[tls.ClientSessionState]
}

var _ tls.ClientSessionCache = (*ClientSession)(nil)

// Get returns the session to resume, and whether there is one.
func (s *ClientSession) Get(string) (*tls.ClientSessionState, bool) {
	last := s.last.Load()
	return last, last != nil
}

// Put keeps a session whose ticket is marked. Any other also forgets the one
// before: another program now answers at the address.
func (s *ClientSession) Put(_ string, cs *tls.ClientSessionState) {
	ticket, _, err := cs.ResumptionState()
	if err != nil || !bytes.HasPrefix(ticket, []byte(ticketMark)) {
		cs = nil
	}
	s.last.Store(cs)
}

// Forget makes the next handshake a full one.
func (s *ClientSession) Forget() { s.last.Store(nil) }
