package edge

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

func TestWhatAClientDoesNotTakeIsNotKeptByTheKernelForLong(t *testing.T) {
	t.Parallel()
	kept := func(pair string) bool {
		sockets, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(sockets), pair)
	}
	closed := func(prepare func(c *conn)) (pair string) {
		client, server := listenertest.TCPPair(t)
		c := &conn{Conn: tls.Server(server, &tls.Config{}), rest: 200 * time.Millisecond} //nolint:gosec // there is no handshake
		if err := fill(c); err != nil {
			t.Fatal(err)
		}
		prepare(c)
		_ = c.Close()
		return fmt.Sprintf(":%04X 0100007F:%04X ", server.LocalAddr().(*net.TCPAddr).Port, client.LocalAddr().(*net.TCPAddr).Port)
	}
	answered := closed(func(*conn) {})
	gaveWay := closed(func(c *conn) { c.reading.Store(true) })
	cut := closed(func(c *conn) {
		_ = c.SetDeadline(time.Now().Add(-time.Second))
		if _, err := c.Write([]byte("more")); err == nil {
			t.Error("more was written")
		}
	})
	for what, pair := range map[string]string{"at rest": gaveWay, "in the middle of an answer": cut} {
		listenertest.Within(t, 20*time.Second, "the kernel has given up a client "+what, func() bool { return !kept(pair) })
	}
	if !kept(answered) {
		t.Error("an answer that is complete is given up too")
	}
}
