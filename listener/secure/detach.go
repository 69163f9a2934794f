package secure

import (
	"crypto/tls"
	"encoding/binary"
	"net"
)

// Detached is a connection taken out of crypto/tls.
type Detached struct {
	// Raw is the socket. It is the caller's from now on.
	Raw net.Conn
	// Records carries on where crypto/tls ended.
	Records *Records
	// Unread is what was read from Raw beyond the handshake.
	Unread []byte
	// Unsent must be written to Raw before anything else: the last flight of a
	// client's handshake.
	Unsent []byte
}

// Transport is the connection below TLS.
func (c *Conn) Transport() net.Conn { return c.wire.Conn }

// Detachable reports whether Detach will succeed. It does not with TLS 1.2, a
// configuration that was not prepared, or GODEBUG=fips140=only, which leaves
// AES-GCM to crypto/tls.
func (c *Conn) Detachable() bool {
	w := c.wire
	if !w.secrets.complete() || !ciphers {
		return false
	}
	state := c.ConnectionState()
	return state.Version == tls.VersionTLS13 && suiteByID(state.CipherSuite) != nil
}

// Detach takes the connection out of crypto/tls. It must come before the first
// Read or Write; afterwards c is as good as closed. It reports false, and c
// stays as it was, unless c is Detachable.
func (c *Conn) Detach() (Detached, bool) {
	w := c.wire
	if !c.Detachable() {
		return Detached{}, false
	}
	s := suiteByID(c.ConnectionState().CipherSuite)
	fromClient := newDirection(s, w.secrets.client, false)
	fromServer := newDirection(s, w.secrets.server, true)
	r := &Records{in: fromClient, out: fromServer}
	if w.client {
		r.in, r.out = fromServer, fromClient
		r.feeder = &feeder{conn: c.Conn, wire: w}
	}
	r.out.seq = countProtected(r.out, w.written)
	d := Detached{Raw: w.Conn, Records: r, Unread: w.unread(), Unsent: w.unsent}
	w.written, w.secrets = nil, secrets{}
	w.unsent = nil
	w.holding.Store(false)
	w.Conn = spent
	return d, true
}

// countProtected is how many of the records written during the handshake, the
// last ones, the application keys protect already: session tickets. Which they
// are depends on the moment crypto/tls chooses, so they are asked: the first
// that opens with these keys is the first of them.
func countProtected(d direction, written []byte) uint64 {
	var buf [1 << 10]byte
	opened := uint64(0)
	for len(written) >= headerLen {
		record := written[:headerLen+int(binary.BigEndian.Uint16(written[3:]))]
		written = written[len(record):]
		if opened > 0 {
			opened++
			continue
		}
		d.seq = 0
		if _, _, err := d.open(buf[:0], record); err == nil {
			opened = 1
		}
	}
	return opened
}

// feeder hands records that carry session tickets to the tls.Conn that a
// client connection was, for they are its to keep. It works as long as that
// has seen every record, that is until the first application data, and is
// dropped then with all that the handshake left behind.
type feeder struct {
	conn *tls.Conn
	wire *wire
}

func (f *feeder) feed(record []byte) {
	f.wire.fed = record
	var none [1]byte
	_, _ = f.conn.Read(none[:]) // ends with errNoMore, having taken the record
	f.wire.fed = nil
}

// noMore is a passing error to crypto/tls, which so can be fed again.
type noMore struct{}

func (noMore) Error() string   { return "no more records" }
func (noMore) Timeout() bool   { return true }
func (noMore) Temporary() bool { return true }

var _ net.Error = noMore{}
