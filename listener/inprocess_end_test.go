package listener_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"connect-proxy/listener"
)

func TestNothingOfADeniedPeerIsReadOnceItIsCutOff(t *testing.T) {
	w := newWorld(t)
	for name, handshake := range map[string]listener.HandshakeFunc{"own records": w.public("").Handshake, "crypto/tls": w.cryptoTLS()} {
		t.Run(name, func(t *testing.T) {
			o, in := w.inProcess()
			o.Handshake = handshake
			l := start(t, o)
			client := l.dialTLS(t, w.ca, w.web)
			if _, err := io.WriteString(client, strings.Repeat("delete everything;", 100)); err != nil {
				t.Fatal(err)
			}
			denied := accept(t, in)
			if _, err := io.ReadFull(denied, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			l.ClosePeers(func(p string) bool { return p == w.web.URI }, listener.ReasonIntentionRevoked)
			l.wait(t, 1)
			if n, err := denied.Read(make([]byte, 100)); n != 0 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("the program read %d bytes of a denied peer, %v", n, err)
			}
		})
	}
}

func TestNothingIsReadAfterTheProgramHasClosedAConnection(t *testing.T) {
	w := newWorld(t)
	o, in := w.inProcess()
	l := start(t, o)
	client := l.dialTLS(t, w.ca, w.web)
	if _, err := io.WriteString(client, "more than is read"); err != nil {
		t.Fatal(err)
	}
	c := accept(t, in)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 100)); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("%d bytes were read, %v", n, err)
	}
}
