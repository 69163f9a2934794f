package secure

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"

	"connect-proxy/listener/secure/record"
)

// The handshake messages that may come after the handshake, RFC 8446 4.6, and
// the length of a key update as a record.
const (
	newSessionTicket = 4
	keyUpdate        = 24
	keyUpdateLen     = 5 + Overhead
)

// The alerts that a peer may send without having failed, RFC 8446 6.1.
const (
	alertCloseNotify  = 0
	alertUserCanceled = 90
)

func (r *Records) alert(content []byte) error {
	if len(content) != 2 {
		return record.ErrUnexpected
	}
	switch content[1] {
	case alertCloseNotify:
		r.closed = true
		return io.EOF
	case alertUserCanceled:
		return r.countUseless() // precedes a close_notify
	}
	return tls.AlertError(content[1])
}

// handshake takes the content of a handshake record. Two kinds of message may
// come after the handshake: a session ticket, which crypto/tls keeps, and a key
// update.
func (r *Records) handshake(content []byte) error {
	if len(content) == 0 {
		return record.ErrUnexpected
	}
	r.message = append(r.message, content...)
	for len(r.message) >= 4 {
		n := 4 + int(r.message[1])<<16 + int(binary.BigEndian.Uint16(r.message[2:]))
		if n > 4+maxMessage {
			return record.ErrInternal
		}
		if len(r.message) < n {
			return nil
		}
		msg := r.message[:n]
		r.message = r.message[n:]
		if err := r.take(msg); err != nil {
			return err
		}
	}
	if len(r.message) == 0 {
		r.message = nil
	}
	return nil
}

func (r *Records) take(msg []byte) error {
	switch msg[0] {
	case newSessionTicket:
		if err := checkTicket(msg[4:]); err != nil {
			return err
		}
		if err := r.countUseless(); err != nil {
			return err
		}
		if !r.client {
			return record.ErrUnexpected // only servers issue tickets
		}
		// One ticket is enough: waiting for another would keep what the
		// handshake left behind.
		r.tickets = nil
		return checkTicketValues(msg[4:])
	case keyUpdate:
		if len(msg) != 5 || msg[4] > 1 {
			return record.ErrDecode
		}
		if err := r.countUseless(); err != nil {
			return err
		}
		r.updateRequested = r.updateRequested || msg[4] == 1
		if len(r.message) > 0 {
			return record.ErrUnexpected // RFC 8446 5.1: must align with a record
		}
		r.in.update()
		r.updates++
		r.tickets = nil // crypto/tls does not know the new key
		return nil
	}
	return record.ErrUnexpected
}

// checkTicket parses the body of a NewSessionTicket message, RFC 8446 4.6.1.
func checkTicket(body []byte) error {
	s := cryptobyte.String(body)
	var nonce, ticket, extensions cryptobyte.String
	if !s.Skip(8) || !s.ReadUint8LengthPrefixed(&nonce) || !s.ReadUint16LengthPrefixed(&ticket) ||
		!s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return record.ErrDecode
	}
	const earlyData = 42
	for !extensions.Empty() {
		var kind uint16
		var value cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&value) ||
			kind == earlyData && len(value) != 4 {
			return record.ErrDecode
		}
	}
	return nil
}

// checkTicketValues judges a body that checkTicket has passed.
func checkTicketValues(body []byte) error {
	const sevenDays = 7 * 24 * 3600
	s := cryptobyte.String(body)
	var lifetime uint32
	var nonce, ticket cryptobyte.String
	_ = s.ReadUint32(&lifetime) && s.Skip(4) && s.ReadUint8LengthPrefixed(&nonce) && s.ReadUint16LengthPrefixed(&ticket)
	switch {
	case lifetime == 0: // not to be kept
		return nil
	case lifetime > sevenDays:
		return record.ErrParameter
	case len(ticket) == 0:
		return record.ErrDecode
	}
	return nil
}

// Update appends a message that replaces our sending key, and has the peer
// replace its own if ask is set (RFC 8446 4.6.3).
func (r *Records) Update(dst []byte, ask bool) []byte {
	msg := [5]byte{keyUpdate, 0, 0, 1}
	if ask {
		msg[4] = 1
	}
	dst = r.out.Seal(dst, msg[:], record.Handshake)
	r.out.update()
	r.updateRequested = false
	return dst
}

// KeyUpdatePending reports whether the peer waits for a key update, which the
// next Seal carries, with or without content.
func (r *Records) KeyUpdatePending() bool { return r.updateRequested }

// KeyUpdates returns how often the peer has replaced its sending key: each time
// takes about as long as opening a record of 8 KiB.
func (r *Records) KeyUpdates() int { return r.updates }

// CloseNotify appends the alert that ends our direction.
func (r *Records) CloseNotify(dst []byte) []byte {
	return r.out.Seal(dst, []byte{1, alertCloseNotify}, record.Alert)
}

// Alert appends the fatal alert a; the connection is of no use afterwards.
func (r *Records) Alert(dst []byte, a tls.AlertError) []byte {
	return r.out.Seal(dst, []byte{2, byte(a)}, record.Alert)
}

// Refuse appends the alert that answers an error of Open (RFC 8446 6.2), and
// nothing if the error is not the peer's violation of the protocol.
func (r *Records) Refuse(dst []byte, err error) []byte {
	var violation *record.Error
	if !errors.As(err, &violation) {
		return dst
	}
	return r.Alert(dst, tls.AlertError(violation.Alert))
}
