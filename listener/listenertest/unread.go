package listenertest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// NewUnreading starts a service that reads the header of a request, agrees to another
// protocol if it is asked for one, and reads nothing more.
func NewUnreading(t testing.TB) *Server {
	return NewServer(t, func(c *net.TCPConn) {
		r, err := http.ReadRequest(bufio.NewReaderSize(c, 16))
		if err == nil && r.Header.Get("Upgrade") != "" {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
		}
		<-t.Context().Done()
	})
}

// WriteUnread writes a request and as much after it as is taken, which must not be all.
func WriteUnread(t testing.TB, c net.Conn, request string) {
	t.Helper()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := io.WriteString(c, request)
	if err == nil {
		_, err = c.Write(make([]byte, 64<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("all is read: %v", err)
	}
}
