package secure

import (
	"encoding/binary"
	"errors"
	"io"

	"connect-proxy/listener/secure/record"
)

// ErrTruncated is a transport that ended without a close_notify: what came
// before may not be all that was sent (RFC 8446 6.1).
var ErrTruncated = errors.New("the TLS connection was cut off without a close_notify")

const (
	// Overhead is how much longer than its content a sealed record is.
	Overhead = record.Overhead
	// updateAfter is the number of records after which our own sending key is
	// replaced. RFC 8446 5.5 allows about 2^24.5 full records with AES-GCM.
	updateAfter = 1 << 24
	// maxUseless bounds records and messages in a row that bring the application
	// nothing, which a peer could send for ever at our expense. It is
	// crypto/tls's number.
	maxUseless = 16
	// maxMessage bounds a handshake message, as crypto/tls does.
	maxMessage = 1 << 16
)

// Records protects and opens the records of one TLS 1.3 connection after its
// handshake. It does no I/O. The two directions may be used by one goroutine
// each, but for the answer to a peer's key update, which Open leaves to the
// next Seal: a caller with two goroutines must guard that pair itself.
type Records struct {
	in, out direction
	client  bool // our role
	// message collects a handshake message that spans records.
	message []byte
	// updateRequested is set when the peer has asked for a new sending key.
	updateRequested bool
	useless         int // records and messages since the last with content
	closed          bool
	// tickets is nil once no ticket can be kept any more.
	tickets *ticketKeeper
	// updates counts the peer's key updates.
	updates int
}

// Open opens the complete records at the start of src, appending their content
// to dst, until src or the room up to cap(dst) ends; it never grows dst. It
// returns dst, how much of src it used, and an error: io.EOF after a
// close_notify, a tls.AlertError for a peer's fatal alert, or a *record.Error
// for a violation of the protocol, which Refuse answers. src and dst must not
// overlap.
func (r *Records) Open(dst, src []byte) ([]byte, int, error) {
	used := 0
	for !r.closed {
		rest := src[used:]
		if len(rest) < record.HeaderLen {
			break
		}
		n := int(binary.BigEndian.Uint16(rest[3:]))
		if err := checkHeader(rest, n); err != nil {
			return dst, used, err
		}
		if len(rest) < record.HeaderLen+n || cap(dst)-len(dst) < n {
			break
		}
		var err error
		used += record.HeaderLen + n
		if dst, err = r.openOne(dst, rest[:record.HeaderLen+n]); err != nil {
			return dst, used, err
		}
	}
	if r.closed {
		return dst, used, io.EOF
	}
	return dst, used, nil
}

// checkHeader judges what can be judged before the body is there.
func checkHeader(b []byte, n int) error {
	switch {
	case b[1] != 3 || b[2] != 3: // as crypto/tls does
		return record.ErrVersion
	case n > record.MaxCiphertext:
		return record.ErrOverflow
	}
	return nil
}

// openOne opens one record.
func (r *Records) openOne(dst, rec []byte) ([]byte, error) {
	if rec[0] == record.ChangeCipherSpec {
		return dst, r.changeCipherSpec(rec[record.HeaderLen:])
	}
	out, typ, err := r.in.Open(dst, rec)
	if err != nil {
		return dst, err
	}
	if typ != record.Handshake && len(r.message) > 0 {
		return dst, record.ErrUnexpected // RFC 8446 5.1: no other record between fragments
	}
	if typ == record.ApplicationData && len(out) > len(dst) {
		r.useless = 0
		r.tickets = nil
		return out, nil
	}
	if r.tickets != nil {
		r.tickets.take(rec)
	}
	content := out[len(dst):]
	switch typ {
	case record.ApplicationData:
		return dst, r.countUseless()
	case record.Alert:
		return dst, r.alert(content)
	case record.Handshake:
		return dst, r.handshake(content)
	}
	return dst, record.ErrUnexpected
}

// changeCipherSpec takes a record that TLS 1.3 ignores. RFC 8446 5 allows it
// before the peer's Finished only; crypto/tls ignores it later too.
func (r *Records) changeCipherSpec(body []byte) error {
	switch {
	case len(r.message) > 0:
		return record.ErrUnexpected
	case len(body) != 1 || body[0] != 1:
		return record.ErrDecode
	}
	return r.countUseless()
}

// countUseless counts a record or message that brought the application nothing.
func (r *Records) countUseless() error {
	if r.useless++; r.useless > maxUseless {
		return record.ErrUnexpected
	}
	return nil
}

// Seal appends content to dst as records. content and dst must not overlap;
// content is changed meanwhile and restored. dst must have room for
// Sealed(len(content)), else it is reallocated.
func (r *Records) Seal(dst, content []byte) []byte {
	if r.updateRequested || r.out.Sequence() >= updateAfter {
		dst = r.Update(dst, false)
	}
	return r.out.SealData(dst, content)
}

// Sealed is how many bytes Seal makes of n bytes of content, at most.
func Sealed(n int) int {
	return n + (n/record.MaxPlaintext+1)*Overhead + keyUpdateLen
}
