package secure

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"slices"

	"connect-proxy/listener/secure/record"
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
func (c *Conn) Transport() net.Conn { return c.transport.Conn }

// Detachable reports whether Detach will succeed. It does not with TLS 1.2,
// without Config.OwnRecords, in FIPS 140-3 mode, whose AES-GCM takes no nonces
// from us, where crypto/tls has not done what is expected of it, and once the
// connection was read from, written to or detached.
func (c *Conn) Detachable() bool { return c.records.Load() != nil }

// newRecords returns the records of a connection whose handshake is done, or nil
// if they must stay with crypto/tls.
func (c *Conn) newRecords() *Records {
	state := c.ConnectionState()
	s, ok := record.SuiteByID(state.CipherSuite)
	if !ok || state.Version != tls.VersionTLS13 || !c.secrets.complete(s.Hash.Size()) {
		return nil
	}
	r := &Records{in: newDirection(s, c.secrets.client), out: newDirection(s, c.secrets.server)}
	if c.transport.client {
		r.in, r.out = r.out, r.in
		r.client = true
		r.tickets = &ticketKeeper{conn: c.Conn, transport: c.transport}
	}
	if !c.advance(&r.out) {
		return nil
	}
	return r
}

// advance moves d, our sending direction, behind the records that crypto/tls
// has protected with its key already: as many as it has made session tickets.
// It reports whether exactly those, the last of the handshake, open with the
// key. A sequence number used twice would give the key away, and a key that is
// not this connection's would show here.
func (c *Conn) advance(d *direction) bool {
	all := protectedRecords(c.transport.written)
	first := len(all) - c.tickets
	if first < 1 { // a handshake ends with a Finished under another key
		return false
	}
	buf := readBufs.Get().(*[]byte)
	defer readBufs.Put(buf)
	room := (*buf)[:0]
	opens := func(r []byte) bool {
		room = slices.Grow(room, len(r))
		_, typ, err := d.Open(room, r)
		return err == nil && typ == record.Handshake
	}
	if opens(all[first-1]) {
		return false
	}
	for _, r := range all[first:] {
		if !opens(r) {
			return false
		}
	}
	return d.Sequence() == uint64(c.tickets)
}

func protectedRecords(written []byte) [][]byte {
	all := make([][]byte, 0, 8)
	for len(written) >= record.HeaderLen {
		n := record.HeaderLen + int(binary.BigEndian.Uint16(written[3:]))
		all = append(all, written[:n])
		written = written[n:]
	}
	return all
}

// ticketRecords is how many records crypto/tls makes of a NewSessionTicket
// message with a ticket of n bytes and nothing else of variable length, RFC 8446
// 4.6.1.
func ticketRecords(n int) int {
	const fixed = 4 + 4 + 4 + 1 + 2 + 2
	return (fixed + n + record.MaxPlaintext - 1) / record.MaxPlaintext
}

// Detach takes the connection out of crypto/tls. It must come before the first
// Read or Write; afterwards c behaves like a closed one. It reports false,
// and c stays as it was, unless c is Detachable.
func (c *Conn) Detach() (Detached, bool) {
	d := Detached{Records: c.records.Swap(nil)}
	if d.Records == nil {
		return d, false
	}
	d.Raw, d.Unread, d.Unsent = c.transport.detach()
	return d, true
}

// ticketKeeper hands records that carry session tickets to the tls.Conn that a
// client connection was, for only that can keep them. It works as long as that
// has seen every record, that is until the first application data, and is
// dropped then with all that the handshake left behind.
type ticketKeeper struct {
	conn      *tls.Conn
	transport *transport
}

func (k *ticketKeeper) take(r []byte) {
	k.transport.fed = r
	var none [1]byte
	_, _ = k.conn.Read(none[:]) // ends with errNothingFed, having taken the record
	k.transport.fed = nil
}
