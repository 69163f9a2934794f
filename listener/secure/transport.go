package secure

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"connect-proxy/listener/secure/record"
)

// transportPhase is what a transport does at the moment.
type transportPhase uint8

const (
	// phaseHandshake hands out one record at a time, so that crypto/tls reads
	// nothing beyond its own handshake.
	phaseHandshake transportPhase = iota
	// phaseEstablished passes everything on.
	phaseEstablished
	// phaseDetached has given the socket away and hands out what feed is given.
	phaseDetached
)

// transport is what a tls.Conn reads from and writes to. During the handshake
// it keeps the protected records that are written, by which Detach checks how
// many of them the application keys protect.
type transport struct {
	net.Conn
	phase  transportPhase
	client bool // our role

	buf        *[]byte // from readBufs while there may be unread bytes
	off, n     int     // unread bytes are (*buf)[off:n]
	recordLeft int     // bytes of the current record not handed out yet
	fed        []byte  // records for a detached connection

	keep    bool   // whether written is wanted
	written []byte // protected records written during the handshake

	// unsent is what a client's handshake has written and nobody waits for yet:
	// its last flight goes out together with the first bytes of the
	// application, for one packet and one wake-up of the server less.
	mu      sync.Mutex
	unsent  []byte
	holding atomic.Bool // whether there is something in unsent
	ended   bool        // the socket has come to its end

	// writeEnded is set behind our close_notify.
	writeEnded atomic.Bool
}

// closedConn takes the place of a socket that was given away.
var closedConn = func() net.Conn {
	c, _ := net.Pipe()
	_ = c.Close()
	return c
}()

const readBufLen = 4 << 10

var readBufs = sync.Pool{New: func() any { b := make([]byte, readBufLen); return &b }}

func (t *transport) Read(p []byte) (int, error) {
	switch t.phase {
	case phaseHandshake:
		return t.readWithinRecord(p)
	case phaseDetached:
		return t.readFed(p)
	}
	if err := t.flush(); err != nil {
		return 0, err
	}
	if t.off < t.n {
		return t.readBuffered(p), nil
	}
	n, err := t.Conn.Read(p)
	t.ended = err == io.EOF
	return n, err
}

// readWithinRecord hands out at most what is left of the current record.
func (t *transport) readWithinRecord(p []byte) (int, error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	for t.recordLeft == 0 {
		if unread := t.unreadBytes(); len(unread) >= record.HeaderLen {
			t.recordLeft = record.HeaderLen + int(binary.BigEndian.Uint16(unread[3:]))
		} else if err := t.fill(); err != nil {
			return 0, err
		}
	}
	if t.off == t.n {
		if err := t.fill(); err != nil {
			return 0, err
		}
	}
	n := t.readBuffered(p[:min(len(p), t.recordLeft)])
	t.recordLeft -= n
	return n, nil
}

func (t *transport) readBuffered(p []byte) int {
	n := copy(p, (*t.buf)[t.off:t.n])
	t.off += n
	if t.off == t.n && t.phase != phaseHandshake {
		t.release()
	}
	return n
}

func (t *transport) readFed(p []byte) (int, error) {
	if len(t.fed) == 0 {
		return 0, errNothingFed{}
	}
	n := copy(p, t.fed)
	t.fed = t.fed[n:]
	return n, nil
}

func (t *transport) unreadBytes() []byte {
	if t.buf == nil {
		return nil
	}
	return (*t.buf)[t.off:t.n]
}

// fill reads more from the socket behind what is there.
func (t *transport) fill() error {
	if t.buf == nil {
		t.buf = readBufs.Get().(*[]byte)
		t.off, t.n = 0, 0
	}
	if t.off > 0 {
		t.n = copy(*t.buf, (*t.buf)[t.off:t.n])
		t.off = 0
	}
	n, err := t.Conn.Read((*t.buf)[t.n:])
	t.n += n
	if n > 0 {
		return nil
	}
	return err
}

// Write drops what comes behind our close_notify (RFC 8446 6.1). That can be the
// answer to a key update, and crypto/tls goes on with the peer's new key only if
// that was written.
func (t *transport) Write(p []byte) (int, error) {
	if t.writeEnded.Load() {
		return len(p), nil
	}
	if t.phase == phaseHandshake {
		if t.keep {
			t.keepProtected(p)
		}
		if t.keep && t.client {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.unsent = append(t.unsent, p...)
			t.holding.Store(true)
			return len(p), nil
		}
	}
	if err := t.flush(); err != nil {
		return 0, err
	}
	return t.Conn.Write(p)
}

// keepProtected copies the protected records in p, a few kilobytes at most.
func (t *transport) keepProtected(p []byte) {
	for len(p) >= record.HeaderLen {
		n := record.HeaderLen + int(binary.BigEndian.Uint16(p[3:]))
		if n > len(p) {
			return
		}
		if p[0] == record.ApplicationData {
			t.written = append(t.written, p[:n]...)
		}
		p = p[n:]
	}
}

// flush sends what is held back.
func (t *transport) flush() error {
	if !t.holding.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.unsent) == 0 {
		return nil
	}
	_, err := t.Conn.Write(t.unsent)
	t.unsent = t.unsent[:0]
	t.holding.Store(false)
	return err
}

// establish ends the handshake.
func (t *transport) establish() {
	t.phase = phaseEstablished
	if t.off == t.n {
		t.release()
	}
}

// detach gives the socket away with what was read and not used, and with what
// was written and not sent.
func (t *transport) detach() (raw net.Conn, unread, unsent []byte) {
	if t.off < t.n {
		unread = append([]byte(nil), t.unreadBytes()...)
	}
	t.release()
	raw, unsent = t.Conn, t.unsent
	t.Conn, t.unsent, t.written = closedConn, nil, nil
	t.holding.Store(false)
	t.phase = phaseDetached
	return raw, unread, unsent
}

func (t *transport) release() {
	if t.buf != nil {
		readBufs.Put(t.buf)
		t.buf = nil
	}
	t.off, t.n = 0, 0
}

// errNothingFed is a passing error to crypto/tls, which so can be fed again.
type errNothingFed struct{}

func (errNothingFed) Error() string   { return "no more records" }
func (errNothingFed) Timeout() bool   { return true }
func (errNothingFed) Temporary() bool { return true }

var _ net.Error = errNothingFed{}
