package secure

import (
	"crypto/hkdf"
	"encoding/binary"

	"connect-proxy/listener/secure/record"
)

// direction is the protection of the records that go one way, with what is
// needed to replace its key.
type direction struct {
	record.Cipher
	suite record.Suite
	// next is the traffic secret of the keys after the present ones. The secret
	// of the present ones is not kept.
	next []byte
}

// newDirection derives the keys from a traffic secret, RFC 8446 7.3.
func newDirection(s record.Suite, secret []byte) direction {
	d := direction{suite: s}
	d.use(secret)
	return d
}

func (d *direction) use(secret []byte) {
	key := expand(d.suite, secret, "key", d.suite.KeyLen)
	d.Cipher = record.NewCipher(d.suite, key, expand(d.suite, secret, "iv", record.IVLen))
	clear(key)
	d.next = expand(d.suite, secret, "traffic upd", d.suite.Hash.Size())
}

// update moves to the next generation of keys, RFC 8446 7.2.
func (d *direction) update() {
	secret := d.next
	d.use(secret)
	clear(secret)
}

// expand is HKDF-Expand-Label with an empty context, RFC 8446 7.1.
func expand(s record.Suite, secret []byte, label string, n int) []byte {
	const prefix = "tls13 "
	info := make([]byte, 0, 4+len(prefix)+len(label))
	info = binary.BigEndian.AppendUint16(info, uint16(n))
	info = append(info, byte(len(prefix)+len(label)))
	info = append(info, prefix...)
	info = append(info, label...)
	info = append(info, 0)
	out, err := hkdf.Expand(s.Hash.New, secret, string(info), n)
	if err != nil {
		panic("secure: expanding a secret: " + err.Error()) // n is at most 48
	}
	return out
}
