package record

import (
	"bytes"
	"crypto/tls"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestCipher(id uint16) Cipher {
	s, _ := SuiteByID(id)
	return NewCipher(s, make([]byte, s.KeyLen), make([]byte, IVLen))
}

func TestARecordWithoutAContentTypeIsUnexpected(t *testing.T) {
	for _, padding := range []int{0, 1, 100} {
		out, in := newTestCipher(tls.TLS_AES_128_GCM_SHA256), newTestCipher(tls.TLS_AES_128_GCM_SHA256)
		sealed := out.seal(appendHeader(nil, padding-1), make([]byte, padding))
		if _, _, err := in.Open(make([]byte, 0, 200), sealed); err != ErrUnexpected {
			t.Errorf("%d bytes of padding: %v", padding, err)
		}
	}
}

func TestARecordThatDoesNotOpenIsNotCounted(t *testing.T) {
	out, in := newTestCipher(tls.TLS_CHACHA20_POLY1305_SHA256), newTestCipher(tls.TLS_CHACHA20_POLY1305_SHA256)
	sealed := out.Seal(nil, []byte("content"), ApplicationData)
	altered := append([]byte(nil), sealed...)
	altered[HeaderLen] ^= 1
	if _, _, err := in.Open(make([]byte, 0, 200), altered); err != ErrBadMAC || in.Sequence() != 0 {
		t.Fatalf("%v, at %d", err, in.Sequence())
	}
	got, typ, err := in.Open(make([]byte, 0, 200), sealed)
	if string(got) != "content" || typ != ApplicationData || err != nil || in.Sequence() != 1 {
		t.Fatalf("%q, %d, %v, at %d", got, typ, err, in.Sequence())
	}
}

func TestWhatStandsBeforeTheContentStays(t *testing.T) {
	out, in := newTestCipher(tls.TLS_AES_256_GCM_SHA384), newTestCipher(tls.TLS_AES_256_GCM_SHA384)
	sealed := out.Seal([]byte("before"), []byte("content"), ApplicationData)
	if !bytes.HasPrefix(sealed, []byte("before")) {
		t.Fatalf("%q", sealed)
	}
	got, _, err := in.Open(append(make([]byte, 0, 200), "first, "...), sealed[len("before"):])
	if string(got) != "first, content" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("data"), uint8(23), uint16(3))
	f.Add([]byte{}, uint8(0), uint16(0))
	f.Fuzz(func(t *testing.T, content []byte, typ uint8, at uint16) {
		if len(content) > MaxPlaintext {
			return
		}
		out, in := newTestCipher(tls.TLS_AES_128_GCM_SHA256), newTestCipher(tls.TLS_AES_128_GCM_SHA256)
		sealed := out.Seal(nil, content, typ)
		room := make([]byte, 0, MaxCiphertext)
		altered := append([]byte(nil), sealed...)
		altered[int(at)%len(altered)] ^= 1 + byte(at>>8)&0x7f
		if _, _, err := in.Open(room, altered); err == nil {
			t.Fatal("an altered record opens")
		}
		got, gotType, err := in.Open(room, sealed)
		if typ == 0 { // is padding, so that the content ends with its last byte that is not
			return
		}
		if err != nil || gotType != typ || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes of type %d: %d of type %d, %v", len(content), typ, len(got), gotType, err)
		}
	})
}
