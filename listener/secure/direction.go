package secure

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	_ "crypto/sha256" // the hash of two of the suites
	_ "crypto/sha512" // and of the third
	"crypto/tls"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

const (
	tagLen   = 16
	nonceLen = 12
)

var errBadRecord = errors.New("a TLS record does not decrypt: it was altered or is out of order")

// suite is what one of TLS 1.3's cipher suites is made of (RFC 8446 B.4).
type suite struct {
	hash   crypto.Hash
	keyLen int
	aead   func(key []byte) (cipher.AEAD, error)
}

func suiteByID(id uint16) *suite {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return &suite{crypto.SHA256, 16, newGCM}
	case tls.TLS_AES_256_GCM_SHA384:
		return &suite{crypto.SHA384, 32, newGCM}
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		return &suite{crypto.SHA256, chacha20poly1305.KeySize, chacha20poly1305.New}
	}
	return nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// ciphers says whether AES-GCM may be used with the nonces of TLS by us at all.
var ciphers = func() bool {
	_, err := newGCM(make([]byte, 16))
	return err == nil
}()

// expand is HKDF-Expand-Label with an empty context, RFC 8446 7.1.
func (s *suite) expand(secret []byte, label string, n int) []byte {
	const prefix = "tls13 "
	info := make([]byte, 0, 4+len(prefix)+len(label))
	info = binary.BigEndian.AppendUint16(info, uint16(n))
	info = append(info, byte(len(prefix)+len(label)))
	info = append(info, prefix...)
	info = append(info, label...)
	info = append(info, 0)
	out, err := hkdf.Expand(s.hash.New, secret, string(info), n)
	if err != nil {
		panic("secure: expanding a secret: " + err.Error()) // n is at most 48
	}
	return out
}

// direction protects the records that go one way.
type direction struct {
	suite  *suite
	secret []byte
	aead   cipher.AEAD
	iv     [nonceLen]byte
	nonce  [nonceLen]byte
	seq    uint64
	server bool // the sender of this direction is the server
}

func newDirection(s *suite, secret []byte, server bool) direction {
	d := direction{suite: s, secret: secret, server: server}
	d.rekey()
	return d
}

func (d *direction) rekey() {
	aead, err := d.suite.aead(d.suite.expand(d.secret, "key", d.suite.keyLen))
	if err != nil {
		panic("secure: keying a cipher: " + err.Error()) // the length is the suite's own
	}
	d.aead = aead
	copy(d.iv[:], d.suite.expand(d.secret, "iv", nonceLen))
	d.seq = 0
}

// update moves to the next generation of keys, RFC 8446 7.2.
func (d *direction) update() {
	d.secret = d.suite.expand(d.secret, "traffic upd", d.suite.hash.Size())
	d.rekey()
}

// next is the nonce of the next record, RFC 8446 5.3.
func (d *direction) next() []byte {
	d.nonce = d.iv
	seq := binary.BigEndian.Uint64(d.nonce[nonceLen-8:]) ^ d.seq
	binary.BigEndian.PutUint64(d.nonce[nonceLen-8:], seq)
	d.seq++
	return d.nonce[:]
}

// seal appends content as one record. The byte behind content is borrowed for
// the content type, so that header, content and type need not be copied
// together first.
func (d *direction) seal(dst, content []byte, typ byte) []byte {
	n := len(content)
	inner := content[:n+1]
	was := inner[n]
	inner[n] = typ
	dst = append(dst, typeData, 3, 3, byte((n+1+tagLen)>>8), byte(n+1+tagLen))
	header := dst[len(dst)-headerLen:]
	dst = d.aead.Seal(dst, d.next(), inner, header)
	inner[n] = was
	return dst
}

// open appends the content of record to dst, which must have room for it, and
// returns it with the content's type.
func (d *direction) open(dst, record []byte) ([]byte, byte, error) {
	if record[0] != typeData || len(record) < headerLen+1+tagLen {
		return nil, 0, errUnexpected
	}
	out, err := d.aead.Open(dst, d.next(), record[headerLen:], record[:headerLen])
	if err != nil {
		return nil, 0, errBadRecord
	}
	end := len(out) - 1
	for end >= len(dst) && out[end] == 0 {
		end-- // padding, RFC 8446 5.4
	}
	if end < len(dst) {
		return nil, 0, errUnexpected
	}
	if end-len(dst) > maxPlaintext {
		return nil, 0, errOverflow
	}
	return out[:end], out[end], nil
}
