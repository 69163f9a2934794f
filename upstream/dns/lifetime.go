package dns

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// lifetimes knows for how long the answers to one lookup are valid (their TTL). A
// net.Resolver does not tell, so what servers send to it is read on the way. Nothing is
// known where the system's resolver is used in place of Go's, and of names in the hosts
// file.
type lifetimes struct {
	mu    sync.Mutex // guards what follows; a host's addresses are asked for at once
	known bool
	least time.Duration
}

// observed makes a resolver that works like r and has its answers read by l.
func (l *lifetimes) observed(r *net.Resolver) *net.Resolver {
	dial := r.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &net.Resolver{PreferGo: r.PreferGo, StrictErrors: r.StrictErrors, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if p, ok := c.(packetConn); ok {
			return observedPackets{p, l}, nil
		}
		return &observedStream{Conn: c, l: l}, nil
	}}
}

// begin forgets what earlier answers said.
func (l *lifetimes) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = false
}

// shortest returns the least lifetime since begin, and whether there was one.
func (l *lifetimes) shortest() (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.least, l.known
}

// read takes note of the answers in a message. What is malformed or none is ignored:
// the resolver rejects it too.
func (l *lifetimes) read(message []byte) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || !h.Response || h.RCode != dnsmessage.RCodeSuccess || p.SkipAllQuestions() != nil {
		return
	}
	for {
		record, err := p.AnswerHeader()
		if err != nil || p.SkipAnswer() != nil {
			return
		}
		ttl := time.Duration(record.TTL) * time.Second
		if record.TTL > 1<<31-1 {
			ttl = 0 // RFC 2181, section 8
		}
		l.mu.Lock()
		if !l.known || ttl < l.least {
			l.known, l.least = true, ttl
		}
		l.mu.Unlock()
	}
}

// packetConn is what tells net.Resolver that a connection carries datagrams.
type packetConn interface {
	net.Conn
	net.PacketConn
}

// observedPackets is a connection of UDP, each datagram of which is a message.
type observedPackets struct {
	packetConn
	l *lifetimes
}

func (p observedPackets) Read(b []byte) (int, error) {
	n, err := p.packetConn.Read(b)
	p.l.read(b[:n])
	return n, err
}

// observedStream is a connection of TCP. The resolver asks one question on it, and the
// answer stands behind its length (RFC 1035, section 4.2.2).
type observedStream struct {
	net.Conn
	l    *lifetimes
	got  []byte
	done bool
}

func (s *observedStream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.done {
		return n, err
	}
	s.got = append(s.got, b[:n]...)
	if len(s.got) < 2 {
		return n, err
	}
	if message := s.got[2:]; len(message) >= int(binary.BigEndian.Uint16(s.got)) {
		s.l.read(message[:binary.BigEndian.Uint16(s.got)])
		s.got, s.done = nil, true
	}
	return n, err
}
