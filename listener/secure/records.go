package secure

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
)

// Errors of a connection whose peer does not keep to TLS.
var (
	// ErrTruncated is a transport that ended without a close_notify: what came
	// before may not be all that was sent (RFC 8446 6.1).
	ErrTruncated = errors.New("the TLS connection was cut off without a close_notify")

	errOverflow   = errors.New("a TLS record is longer than the protocol allows")
	errUnexpected = errors.New("an unexpected TLS record came")
)

// Overhead is how much longer than its content a sealed record is: header,
// content type and tag.
const Overhead = headerLen + 1 + tagLen

// MaxContent is the most content a record takes.
const MaxContent = maxPlaintext

// updateAfter is the number of records after which our own sending key is
// replaced. RFC 8446 5.5 allows about 2^24.5 full records with AES-GCM.
const updateAfter = 1 << 24

// Records protects and opens the records of one TLS 1.3 connection. It does no
// I/O. The two directions may be used by one goroutine each, but for the
// answer to a peer's key update, which Open leaves to the next Seal: a caller
// with two goroutines must guard that pair itself.
type Records struct {
	in, out direction
	// handshake collects a handshake message that spans records.
	handshake []byte
	// answer says that the peer asked for a new sending key.
	answer bool
	useful int // records since the last one with content, RFC 8446's "useless" ones
	closed bool
	feeder *feeder
}

// maxUseless bounds records that carry no content, which a peer could send
// for ever at our expense.
const maxUseless = 32

// Open opens the complete records at the start of src, appending their content
// to dst, until src or the room up to cap(dst) ends; it never grows dst. It
// returns dst, how much of src it used, and an error: io.EOF after a
// close_notify, an AlertError for a peer's fatal alert, or what is wrong with
// a record. src and dst must not overlap.
func (r *Records) Open(dst, src []byte) ([]byte, int, error) {
	used := 0
	for !r.closed {
		rest := src[used:]
		if len(rest) < headerLen {
			break
		}
		n := int(binary.BigEndian.Uint16(rest[3:]))
		if n > maxCiphertext {
			return dst, used, errOverflow
		}
		if len(rest) < headerLen+n || cap(dst)-len(dst) < n {
			break
		}
		record := rest[:headerLen+n]
		out, typ, err := r.in.open(dst, record)
		if err != nil {
			return dst, used, err
		}
		used += len(record)
		if typ == typeData {
			if len(out) > len(dst) {
				r.useful = 0
				r.feeder = nil
			} else if err := r.useless(); err != nil {
				return dst, used, err
			}
			dst = out
			continue
		}
		if err := r.control(typ, out[len(dst):], record); err != nil {
			return dst, used, err
		}
	}
	if r.closed {
		return dst, used, io.EOF
	}
	return dst, used, nil
}

// Need is how many more bytes than src the first record in it needs; zero if
// it is complete.
func (r *Records) Need(src []byte) int {
	if len(src) < headerLen {
		return headerLen - len(src)
	}
	return max(0, headerLen+int(binary.BigEndian.Uint16(src[3:]))-len(src))
}

func (r *Records) useless() error {
	if r.useful++; r.useful > maxUseless {
		return errUnexpected
	}
	return nil
}

// control takes a record that is not application data.
func (r *Records) control(typ byte, content, record []byte) error {
	if err := r.useless(); err != nil {
		return err
	}
	if typ != typeHandshake && len(r.handshake) > 0 {
		return errUnexpected // RFC 8446 5.1: no other record between fragments
	}
	switch typ {
	case typeAlert:
		return r.alert(content)
	case typeHandshake:
		return r.message(content, record)
	}
	return errUnexpected
}

func (r *Records) alert(content []byte) error {
	const closeNotify, userCanceled = 0, 90
	if len(content) != 2 {
		return errUnexpected
	}
	switch content[1] {
	case closeNotify:
		r.closed = true
		return io.EOF
	case userCanceled:
		return nil // precedes a close_notify, RFC 8446 6.1
	}
	return tls.AlertError(content[1])
}

// message takes handshake records, of which two kinds may come after the
// handshake: a session ticket, which crypto/tls keeps, and a key update.
func (r *Records) message(content, record []byte) error {
	const maxMessage = 1 << 16
	if len(content) == 0 {
		return errUnexpected
	}
	if r.feeder != nil {
		r.feeder.feed(record)
	}
	r.handshake = append(r.handshake, content...)
	for len(r.handshake) >= 4 {
		n := 4 + int(r.handshake[1])<<16 + int(binary.BigEndian.Uint16(r.handshake[2:]))
		if n > maxMessage {
			return errOverflow
		}
		if len(r.handshake) < n {
			return nil
		}
		msg := r.handshake[:n]
		switch msg[0] {
		case newSessionTicket:
			if !r.in.server {
				return errUnexpected // only servers issue tickets
			}
			// One ticket is enough: waiting for another would keep what the
			// handshake left behind.
			r.feeder = nil
		case keyUpdate:
			if n != 5 || msg[4] > 1 || len(r.handshake) > n {
				return errUnexpected // RFC 8446 5.1: must align with a record
			}
			r.in.update()
			r.answer = r.answer || msg[4] == 1
			r.feeder = nil // crypto/tls does not know the new key
		default:
			return errUnexpected
		}
		r.handshake = r.handshake[n:]
	}
	if len(r.handshake) == 0 {
		r.handshake = nil
	}
	return nil
}

// Sealed is how many bytes Seal makes of n bytes of content, at most.
func Sealed(n int) int {
	return n + (n/MaxContent+1)*Overhead + keyUpdateLen
}

// The handshake messages that may come after the handshake, RFC 8446 4, and the
// length of a key update as a record.
const (
	newSessionTicket = 4
	keyUpdate        = 24
	keyUpdateLen     = 5 + Overhead
)

// Seal appends content to dst as records. content must have room for one byte
// more behind its end, which Seal uses and restores, and must not overlap with
// dst; dst must have room for Sealed(len(content)), else it is reallocated.
func (r *Records) Seal(dst, content []byte) []byte {
	if r.answer || r.out.seq >= updateAfter {
		dst = r.Update(dst, false)
	}
	for len(content) > 0 {
		n := min(len(content), MaxContent)
		dst = r.out.seal(dst, content[:n], typeData)
		content = content[n:]
	}
	return dst
}

// Update appends a message that replaces our sending key, and has the peer
// replace its own if ask is set (RFC 8446 4.6.3).
func (r *Records) Update(dst []byte, ask bool) []byte {
	msg := [keyUpdateLen - Overhead + 1]byte{keyUpdate, 0, 0, 1}
	if ask {
		msg[4] = 1
	}
	dst = r.out.seal(dst, msg[:5], typeHandshake)
	r.out.update()
	r.answer = false
	return dst
}

// Owes reports whether the peer waits for a key update that a Seal, with or
// without content, would carry.
func (r *Records) Owes() bool { return r.answer }

// CloseNotify appends the alert that ends our direction.
func (r *Records) CloseNotify(dst []byte) []byte {
	return r.out.seal(dst, []byte{1, 0, 0}[:2], typeAlert)
}

// Alert appends the fatal alert a; the connection is of no use afterwards.
func (r *Records) Alert(dst []byte, a tls.AlertError) []byte {
	return r.out.seal(dst, []byte{2, byte(a), 0}[:2], typeAlert)
}
