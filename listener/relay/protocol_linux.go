package relay

import (
	"encoding/binary"
	"io"

	"connect-proxy/listener/secure"
)

// protocol is what is spoken on a side, between its socket and the application's
// bytes: none, or the records of TLS 1.3.
type protocol interface {
	// open returns the content at the beginning of src, which is made in room or
	// lies in src itself, how many bytes of src it took, and what that has cost
	// beyond these. It takes no more than what costs most, by far. It returns
	// io.EOF where the peer has ended its direction.
	open(room, src []byte, most int) (content []byte, used, cost int, err error)
	// opensInPlace reports whether content lies in src.
	opensInPlace() bool
	// eof is what the end of the socket means without an end by open.
	eof() error
	// seal returns content as it is sent, appended to room or as it is.
	seal(room, content []byte) []byte
	// owes reports whether something has to be sent, which seal adds, although
	// there is no content.
	replyPending() bool
	// end appends what ends our direction to room; nothing where that is for the
	// socket to do.
	end(room []byte) []byte
	// refuse appends the answer to a violation by the peer, if there is one.
	refuse(room []byte, err error) []byte
}

// plain is a socket whose bytes are the application's.
type plain struct{}

func (plain) open(_, src []byte, _ int) ([]byte, int, int, error) { return src, len(src), 0, nil }
func (plain) opensInPlace() bool                                  { return true }
func (plain) eof() error                                          { return io.EOF }
func (plain) seal(_, content []byte) []byte                       { return content }
func (plain) replyPending() bool                                  { return false }
func (plain) end(room []byte) []byte                              { return room }
func (plain) refuse(room []byte, _ error) []byte                  { return room }

// records is TLS 1.3 without crypto/tls.
type records struct{ *secure.Records }

// open opens records until they have cost most.
func (r records) open(room, src []byte, most int) (content []byte, used, cost int, err error) {
	content = room
	for updates := r.KeyUpdates(); err == nil && cost < most; {
		n, length := completeRecords(src[used:], recordsAtOnce)
		if n == 0 {
			length = len(src) - used // Open judges a header by itself
		}
		var took int
		content, took, err = r.Open(content, src[used:used+length])
		used += took
		cost += n*recordCost + (r.KeyUpdates()-updates)*updateCost
		updates = r.KeyUpdates()
		if took == 0 {
			break
		}
	}
	return content, used, cost, err
}

func (records) opensInPlace() bool                     { return false }
func (records) eof() error                             { return secure.ErrTruncated }
func (r records) seal(room, content []byte) []byte     { return r.Seal(room, content) }
func (r records) replyPending() bool                   { return r.KeyUpdatePending() }
func (r records) end(room []byte) []byte               { return r.CloseNotify(room) }
func (r records) refuse(room []byte, err error) []byte { return r.Refuse(room, err) }

// recordHeader is the length of a TLS record's header, of which the last two
// bytes are the length of what follows (RFC 8446 5.1).
const recordHeader = 5

// completeRecords returns how many complete records b begins with, at most so
// many, and how long they are.
func completeRecords(b []byte, most int) (records, length int) {
	for records < most && len(b)-length >= recordHeader {
		end := length + recordHeader + int(binary.BigEndian.Uint16(b[length+recordHeader-2:]))
		if end > len(b) {
			break
		}
		records, length = records+1, end
	}
	return records, length
}
