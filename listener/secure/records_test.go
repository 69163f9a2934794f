package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"testing"

	"connect-proxy/listener/secure/record"
)

// aes128 is a direction with a key that everybody knows.
func aes128() direction {
	s, _ := record.SuiteByID(tls.TLS_AES_128_GCM_SHA256)
	return newDirection(s, make([]byte, s.Hash.Size()))
}

func TestKeysAreReplacedBeforeTheirLimitAndWhenThePeerAsks(t *testing.T) {
	server, client := configs(t)
	ours, theirs := shake(t, server, client, true)
	d := detach(t, ours)
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(theirs, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	d.write([]byte("old"))
	read("old")
	d.Records.updateRequested = true // as if the peer had asked
	d.write([]byte("new"))
	if n := d.Records.out.Sequence(); n != 1 {
		t.Fatalf("the key in use is %d records old", n)
	}
	read("new")

	// A peer's request, made by our own hand: crypto/tls never asks.
	peer := &Records{in: aes128(), out: aes128()}
	us := &Records{in: aes128(), out: aes128()}
	msg := peer.Seal(peer.Update(nil, true), []byte("after"))
	got, _, err := us.Open(make([]byte, 0, 100), msg)
	if err != nil || string(got) != "after" || !us.KeyUpdatePending() {
		t.Fatalf("%q, %v, pending %v", got, err, us.KeyUpdatePending())
	}
	got, _, err = peer.Open(make([]byte, 0, 100), us.Seal(nil, []byte("answer")))
	if err != nil || string(got) != "answer" || us.KeyUpdatePending() {
		t.Fatalf("%q, %v, pending %v", got, err, us.KeyUpdatePending())
	}
}

func TestAnAlteredReorderedOrOverlongRecordEndsTheConnection(t *testing.T) {
	fresh := func() (*Records, []byte) {
		out := &Records{out: aes128()}
		return &Records{in: aes128()}, out.Seal(out.Seal(nil, []byte("one")), []byte("two"))
	}
	one := 3 + Overhead
	for name, c := range map[string]struct {
		spoil func(b []byte) []byte
		want  error
	}{
		"altered content": {func(b []byte) []byte { b[record.HeaderLen] ^= 1; return b }, record.ErrBadMAC},
		"altered tag":     {func(b []byte) []byte { b[one-1] ^= 1; return b }, record.ErrBadMAC},
		"altered length":  {func(b []byte) []byte { b[4]--; return b }, record.ErrBadMAC},
		"swapped":         {func(b []byte) []byte { return append(append([]byte{}, b[one:]...), b[:one]...) }, record.ErrBadMAC},
		"replayed":        {func(b []byte) []byte { return append(append([]byte{}, b[:one]...), b[:one]...) }, record.ErrBadMAC},
		"plaintext type":  {func(b []byte) []byte { b[0] = record.Alert; return b }, record.ErrBadMAC},
		"other version":   {func(b []byte) []byte { b[2] = 4; return b }, record.ErrVersion},
		"too long":        {func(b []byte) []byte { b[3], b[4] = 0x41, 0x01; return b }, record.ErrOverflow},
		"nothing but type": {func([]byte) []byte {
			return append([]byte{record.ApplicationData, 3, 3, 0, 16}, make([]byte, 16)...)
		}, record.ErrBadMAC},
	} {
		t.Run(name, func(t *testing.T) {
			r, sealed := fresh()
			got, _, err := r.Open(make([]byte, 0, 200), c.spoil(sealed))
			if !errors.Is(err, c.want) || bytes.Contains(got, []byte("two")) {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}

func TestTheLimitOfARecordHoldsBeforeItsPaddingIsTakenOff(t *testing.T) {
	for name, c := range map[string]struct {
		padding int
		want    error
	}{
		"as long as may be": {record.MaxPlaintext - 10, nil},
		"one too long":      {record.MaxPlaintext - 9, record.ErrOverflow},
	} {
		out := aes128()
		// The padding of a record is zeros behind its content type.
		inner := append([]byte("0123456789\x17"), make([]byte, c.padding-1)...)
		r := &Records{in: aes128()}
		_, _, err := r.Open(make([]byte, 0, 1<<15), out.Seal(nil, inner, 0))
		if err != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContentIsLeftAsItWasAndNothingBehindItIsTouched(t *testing.T) {
	for _, size := range []int{1, 64, record.MaxPlaintext, record.MaxPlaintext + 1, 3*record.MaxPlaintext + 5} {
		all := bytes.Repeat([]byte{0xaa}, size+1)
		from, to := &Records{out: aes128()}, &Records{in: aes128()}
		got, _, err := to.Open(make([]byte, 0, size+400), from.Seal(nil, all[:size:size]))
		if err != nil || !bytes.Equal(got, all[:size]) || !bytes.Equal(all, bytes.Repeat([]byte{0xaa}, size+1)) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestRecordsWithoutUseAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		typ     byte
		content []byte
	}{
		"empty data":  {record.ApplicationData, nil},
		"warnings":    {record.Alert, []byte{1, alertUserCanceled}},
		"key updates": {record.Handshake, []byte{keyUpdate, 0, 0, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			out := aes128()
			r := &Records{in: aes128()}
			for i := range maxUseless + 1 {
				_, _, err := r.Open(make([]byte, 0, 100), out.Seal(nil, c.content, c.typ))
				if c.typ == record.Handshake {
					out.update()
				}
				if want := i == maxUseless; errors.Is(err, record.ErrUnexpected) != want {
					t.Fatalf("record %d: %v", i+1, err)
				}
			}
		})
	}
}
