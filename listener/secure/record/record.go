package record

import (
	"crypto/cipher"
	"encoding/binary"
)

const (
	// HeaderLen is the length of a record's header in bytes.
	HeaderLen = 5
	// MaxPlaintext is the most content that a record takes, RFC 8446 5.1.
	MaxPlaintext = 1 << 14
	// MaxCiphertext is the longest body of a protected record, RFC 8446 5.2.
	MaxCiphertext = MaxPlaintext + 256
	// Overhead is how much longer than its content a record made here is:
	// header, content type and tag.
	Overhead = HeaderLen + 1 + tagLen
	// IVLen is the length of the write IV, RFC 8446 5.3.
	IVLen = 12

	tagLen = 16
)

// The content types, RFC 8446 5.1.
const (
	// ChangeCipherSpec is a record that says nothing in TLS 1.3 (D.4).
	ChangeCipherSpec byte = 20
	// Alert is a record of alerts (6).
	Alert byte = 21
	// Handshake is a record of handshake messages, of which some come after the
	// handshake (4.6).
	Handshake byte = 22
	// ApplicationData is a record of the application's bytes, and what every
	// protected record looks like from outside (5.2).
	ApplicationData byte = 23
)

// Cipher protects or opens the records that go one way, in their order, with
// one key. It is not safe for concurrent use. The zero Cipher is of no use.
type Cipher struct {
	aead  cipher.AEAD
	iv    [IVLen]byte
	nonce [IVLen]byte
	seq   uint64
}

// NewCipher returns a Cipher at sequence number zero. The lengths of key and iv
// are the suite's KeyLen and IVLen; it panics otherwise.
func NewCipher(s Suite, key, iv []byte) Cipher {
	aead, err := s.aead(key)
	if err != nil || len(iv) != IVLen {
		panic("record: a key or an IV of the wrong length")
	}
	c := Cipher{aead: aead}
	copy(c.iv[:], iv)
	return c
}

// Sequence is the number of records so far, RFC 8446 5.3.
func (c *Cipher) Sequence() uint64 { return c.seq }

// current is the nonce of the next record, RFC 8446 5.3.
func (c *Cipher) current() []byte {
	c.nonce = c.iv
	seq := binary.BigEndian.Uint64(c.nonce[IVLen-8:]) ^ c.seq
	binary.BigEndian.PutUint64(c.nonce[IVLen-8:], seq)
	return c.nonce[:]
}

// seal protects plaintext, which ends with its content type. The header is the
// end of dst.
func (c *Cipher) seal(dst, plaintext []byte) []byte {
	dst = c.aead.Seal(dst, c.current(), plaintext, dst[len(dst)-HeaderLen:])
	c.seq++
	return dst
}

// Seal appends content, at most MaxPlaintext bytes of type typ, to dst as one
// record. content and dst must not overlap.
func (c *Cipher) Seal(dst, content []byte, typ byte) []byte {
	dst = appendHeader(dst, len(content))
	start := len(dst)
	dst = append(append(dst, content...), typ)
	return c.seal(dst[:start], dst[start:])
}

// SealData appends application data of any length to dst as records of
// MaxPlaintext bytes and one with the rest. content and dst must not overlap;
// content is changed meanwhile and restored.
func (c *Cipher) SealData(dst, content []byte) []byte {
	for len(content) > MaxPlaintext {
		// The content type goes behind the content, into the first byte of the
		// next record's, so that the content need not be copied first.
		borrowed := content[MaxPlaintext]
		content[MaxPlaintext] = ApplicationData
		dst = c.seal(appendHeader(dst, MaxPlaintext), content[:MaxPlaintext+1])
		content[MaxPlaintext] = borrowed
		content = content[MaxPlaintext:]
	}
	if len(content) > 0 {
		dst = c.Seal(dst, content, ApplicationData)
	}
	return dst
}

func appendHeader(dst []byte, content int) []byte {
	n := content + 1 + tagLen
	return append(dst, ApplicationData, 3, 3, byte(n>>8), byte(n))
}

// Open appends the content of one complete protected record to dst, which must
// have room for the record's body, and returns it with the content's type. An
// error is an *Error and leaves dst's content as it was; a record that does not
// open is not counted. record and dst must not overlap.
func (c *Cipher) Open(dst, record []byte) ([]byte, byte, error) {
	out, err := c.aead.Open(dst, c.current(), record[HeaderLen:], record[:HeaderLen])
	if err != nil {
		return nil, 0, ErrBadMAC
	}
	c.seq++
	if record[0] != ApplicationData {
		return nil, 0, ErrUnexpected
	}
	// The limit holds for the padded plaintext, RFC 8446 5.4.
	if len(out)-len(dst) > MaxPlaintext+1 {
		return nil, 0, ErrOverflow
	}
	end := len(out) - 1
	for end >= len(dst) && out[end] == 0 {
		end--
	}
	if end < len(dst) {
		return nil, 0, ErrUnexpected
	}
	if end-len(dst) > MaxPlaintext {
		return nil, 0, ErrOverflow
	}
	return out[:end], out[end], nil
}
