package relay

import (
	"bytes"
	"crypto/hkdf"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
	"connect-proxy/listener/secure/record"
)

// The handshake messages of RFC 8446 4.6 that may come after the handshake.
const (
	newSessionTicket = 4
	keyUpdate        = 24
)

// forger is the far end of a TLS connection that may send records of any kind and
// content: crypto/tls made its handshake and opens what comes.
type forger struct {
	*tls.Conn
	raw    net.Conn
	out    record.Cipher
	suite  record.Suite
	secret []byte // of the present keys of out
}

// forge returns a connection's ends: ours serves, or is the client of the forger.
func forge(t *testing.T, weServe bool) (*forger, net.Conn) {
	t.Helper()
	server, client := configs(t, 0)
	a, b := listenertest.TCPPair(t)
	var log bytes.Buffer
	f := &forger{raw: a}
	done := make(chan error, 1)
	var ours *secure.Conn
	var err error
	label := "CLIENT_TRAFFIC_SECRET_0"
	if weServe {
		client.KeyLogWriter = &log
		f.Conn = tls.Client(a, client)
		go func() { done <- f.Handshake() }()
		ours, err = own(server).Server(t.Context(), b)
	} else {
		label = "SERVER_TRAFFIC_SECRET_0"
		server.KeyLogWriter, server.SessionTicketsDisabled = &log, true
		f.Conn = tls.Server(a, server)
		go func() { done <- f.Handshake() }()
		if ours, err = own(client).Client(t.Context(), b); err == nil {
			err = ours.Flush()
		}
	}
	must(t, err)
	must(t, <-done)
	for line := range bytes.Lines(log.Bytes()) {
		if fields := bytes.Fields(line); string(fields[0]) == label {
			f.secret, err = hex.DecodeString(string(fields[2]))
			must(t, err)
		}
	}
	f.suite, _ = record.SuiteByID(f.ConnectionState().CipherSuite)
	f.use(t)
	return f, ours
}

// use derives the keys of the present secret, RFC 8446 7.3.
func (f *forger) use(t *testing.T) {
	t.Helper()
	f.out = record.NewCipher(f.suite, f.expand(t, "key", f.suite.KeyLen), f.expand(t, "iv", record.IVLen))
}

// expand is HKDF-Expand-Label without a context, RFC 8446 7.1.
func (f *forger) expand(t *testing.T, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := slices.Concat([]byte{byte(n >> 8), byte(n), byte(len(label))}, []byte(label), []byte{0})
	out, err := hkdf.Expand(f.suite.Hash.New, f.secret, string(info), n)
	must(t, err)
	return out
}

// update appends a message that replaces the keys of what follows.
func (f *forger) update(t *testing.T, dst []byte, ask byte) []byte {
	t.Helper()
	dst = f.out.Seal(dst, []byte{keyUpdate, 0, 0, 1, ask}, record.Handshake)
	f.secret = f.expand(t, "traffic upd", f.suite.Hash.Size())
	f.use(t)
	return dst
}

// ticket is a session ticket that its client keeps for so many seconds.
func ticket(lifetime uint32) []byte {
	body := binary.BigEndian.AppendUint32(nil, lifetime)
	body = append(body, 1, 2, 3, 4, 1, 0, 0, 8)
	body = append(body, "a ticket\x00\x00"...)
	return append([]byte{newSessionTicket, 0, 0, byte(len(body))}, body...)
}

// readAll reads up to an error.
func (f *forger) readAll() error {
	_ = f.raw.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, err := io.Copy(io.Discard, f.Conn)
	return err
}
