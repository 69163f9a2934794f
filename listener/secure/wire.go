package secure

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

const (
	headerLen    = 5
	maxPlaintext = 1 << 14
	// maxCiphertext is the longest body of a TLS 1.3 record, RFC 8446 5.2.
	maxCiphertext = maxPlaintext + 256

	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23
)

// wire is the transport below a tls.Conn. During the handshake it hands out
// the bytes of one record at a time, so that crypto/tls never reads beyond its
// own handshake and what follows is still ours to give away; it takes the
// connection's secrets; and it keeps the records that were written, from which
// Detach learns how many of them the application keys already protect.
type wire struct {
	net.Conn

	own     bool // the secrets of this connection are wanted
	client  bool // our role
	shaking bool
	secrets secrets

	buf     *[]byte // from wireBufs while there may be unread bytes
	r, n    int     // unread bytes are (*buf)[r:n]
	left    int     // bytes of the current record not handed out yet
	written []byte  // encrypted records written during the handshake

	// unsent is what a client's handshake has written and nobody waits for yet:
	// its last flight goes out together with the first bytes of the
	// application, for one packet and one wake-up of the server less.
	mu      sync.Mutex // guards unsent after the handshake
	unsent  []byte
	holding atomic.Bool // there is something in unsent
	ended   bool        // the socket has come to its end
	fed     []byte      // what a feeder hands in once Conn is spent
}

// spent takes the place of a socket that was given away.
var spent = func() net.Conn {
	c, _ := net.Pipe()
	_ = c.Close()
	return c
}()

const wireBufLen = 4 << 10

var wireBufs = sync.Pool{New: func() any { b := make([]byte, wireBufLen); return &b }}

// newWire returns a handshake's transport and the configuration for it. If cfg
// was prepared for this role, that is a copy whose key log is the transport's
// own, so that nothing which a peer sends decides whose secrets these are.
func newWire(raw net.Conn, cfg *tls.Config, client bool) (*wire, *tls.Config) {
	w := &wire{Conn: raw, client: client, shaking: true}
	if p, ok := cfg.KeyLogWriter.(prepared); !ok || p.client != client {
		return w, cfg
	}
	w.own = true
	own := cfg.Clone() //nolint:forbidigo // secrets are bound to their connection by it
	own.KeyLogWriter = &w.secrets
	if !client {
		// The keys of tickets stay with the shared configuration, so that
		// sessions are resumed on any of its connections.
		if own.WrapSession == nil {
			own.WrapSession = cfg.EncryptTicket
		}
		if own.UnwrapSession == nil {
			own.UnwrapSession = cfg.DecryptTicket
		}
	}
	return w, own
}

// Read hands out at most what is left of the current record while the
// handshake lasts, and anything afterwards.
func (w *wire) Read(p []byte) (int, error) {
	if w.Conn == spent {
		return w.readFed(p)
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	if w.n == w.r && !w.shaking {
		n, err := w.Conn.Read(p)
		w.ended = err == io.EOF
		return n, err
	}
	if w.left == 0 && w.shaking {
		if err := w.nextRecord(); err != nil {
			return 0, err
		}
	}
	if w.n == w.r {
		if err := w.fill(); err != nil {
			return 0, err
		}
	}
	avail := (*w.buf)[w.r:w.n]
	if w.shaking && len(avail) > w.left {
		avail = avail[:w.left]
	}
	n := copy(p, avail)
	w.r += n
	w.left -= n
	if w.r == w.n && !w.shaking {
		w.release()
	}
	return n, nil
}

func (w *wire) readFed(p []byte) (int, error) {
	if len(w.fed) == 0 {
		return 0, noMore{}
	}
	n := copy(p, w.fed)
	w.fed = w.fed[n:]
	return n, nil
}

// nextRecord reads on until the header of the next record is there.
func (w *wire) nextRecord() error {
	for w.n-w.r < headerLen {
		if err := w.fill(); err != nil {
			return err
		}
	}
	w.left = headerLen + int(binary.BigEndian.Uint16(w.unreadBytes()[3:]))
	return nil
}

func (w *wire) unreadBytes() []byte {
	if w.buf == nil {
		return nil
	}
	return (*w.buf)[w.r:w.n]
}

// fill reads more from the socket behind what is there.
func (w *wire) fill() error {
	if w.buf == nil {
		w.buf = wireBufs.Get().(*[]byte)
		w.r, w.n = 0, 0
	}
	if w.r > 0 {
		w.n = copy(*w.buf, (*w.buf)[w.r:w.n])
		w.r = 0
	}
	n, err := w.Conn.Read((*w.buf)[w.n:])
	w.n += n
	if n > 0 {
		return nil
	}
	return err
}

// Write keeps a copy of what the handshake keys or the application keys
// protect, a few kilobytes at most.
func (w *wire) Write(p []byte) (int, error) {
	if w.shaking && w.own {
		for b := p; len(b) >= headerLen; {
			n := headerLen + int(binary.BigEndian.Uint16(b[3:]))
			if n > len(b) {
				break
			}
			if b[0] == typeData {
				w.written = append(w.written, b[:n]...)
			}
			b = b[n:]
		}
	}
	if w.shaking && w.own && w.client {
		w.unsent = append(w.unsent, p...)
		w.holding.Store(true)
		return len(p), nil
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// flush sends what is held back.
func (w *wire) flush() error {
	if !w.holding.Load() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.unsent) == 0 {
		return nil
	}
	_, err := w.Conn.Write(w.unsent)
	w.unsent = w.unsent[:0]
	w.holding.Store(false)
	return err
}

// finish ends the handshake: from now on reads are not bounded by records.
func (w *wire) finish() {
	w.shaking = false
	if w.r == w.n {
		w.release()
	}
}

// unread takes over the bytes that were read beyond the handshake.
func (w *wire) unread() []byte {
	if w.r == w.n {
		return nil
	}
	rest := append([]byte(nil), (*w.buf)[w.r:w.n]...)
	w.release()
	return rest
}

func (w *wire) release() {
	if w.buf != nil {
		wireBufs.Put(w.buf)
		w.buf = nil
	}
	w.r, w.n = 0, 0
}
