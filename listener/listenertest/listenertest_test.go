package listenertest_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }

func TestLeafIsAcceptedByItsOwnAuthorityOnly(t *testing.T) {
	ours, foreign := listenertest.NewCA(t), listenertest.NewCA(t)
	expired := listenertest.LeafOptions{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	tests := map[string]struct {
		client listenertest.Leaf
		want   bool
	}{
		"own leaf":     {ours.Leaf(t, "web"), true},
		"foreign leaf": {foreign.Leaf(t, "web"), false},
		"expired leaf": {ours.LeafWith(t, "web", expired), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := listenertest.TCPPair(t)
			client := tls.Client(a, ours.ClientTLS(tc.client))
			go func() { _ = client.Handshake(); _, _ = client.Read(make([]byte, 1)) }()
			server := tls.Server(b, ours.ServerTLS(ours.Leaf(t, "db")))
			err := server.Handshake()
			if got := err == nil; got != tc.want {
				t.Fatalf("handshake: %v, want success %t", err, tc.want)
			}
			if err == nil && server.ConnectionState().PeerCertificates[0].URIs[0].String() != tc.client.URI {
				t.Errorf("peer is not %s", tc.client.URI)
			}
			_ = b.Close()
		})
	}
}

func TestEchoAnswersAndHalfCloses(t *testing.T) {
	echo := listenertest.NewEcho(t)
	c, err := net.Dial("tcp", echo.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "to and fro"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "to and fro" || echo.Accepted() != 1 {
		t.Errorf("read %q, %v, accepted %d", got, err, echo.Accepted())
	}
}
