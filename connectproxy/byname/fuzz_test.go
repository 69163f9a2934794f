package byname

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/dynamic"
	"connect-proxy/listener"
)

// said is a connection on which a client has said everything it will say.
type said struct {
	*bytes.Reader
	answered bytes.Buffer
}

func (s *said) Read(b []byte) (int, error)       { return s.Reader.Read(b) }
func (s *said) Write(b []byte) (int, error)      { return s.answered.Write(b) }
func (s *said) Close() error                     { return nil }
func (s *said) CloseWrite() error                { return nil }
func (s *said) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *said) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *said) SetDeadline(time.Time) error      { return nil }
func (s *said) SetReadDeadline(time.Time) error  { return nil }
func (s *said) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*said)(nil)

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"\x05\x01\x00\x05\x01\x00\x03\x02db\x00\x50early",
		"\x05\x02\x00\x02\x01\x04shop\x01x\x05\x01\x00\x03\x02db\x00\x50",
		"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
		"CONNECT db:5432 HTTP/1.1\r\nHost: db\r\n\r\nearly",
		"CONNECT db@dc2:1 HTTP/1.0\n\n",
		"GET http://db/ HTTP/1.1\r\nHost: db\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"\x04\x01\x00\x50", "\x16\x03\x01",
	} {
		f.Add([]byte(seed))
	}
	s := New(Options{
		Destination: config.ParseDestination,
		Target: func(context.Context, config.Destination) (listener.Target, error) {
			return listener.Target{}, errors.New("none")
		},
		Dial: func(context.Context, dynamic.Call) (net.Conn, error) { return nil, errors.New("none") },
	})
	if err := s.Update(config.ByName{Allow: []string{"db", "db@dc2"}, Route: config.RouteHost, DNSDomain: "consul"}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &said{Reader: bytes.NewReader(b)}
		r, err := s.Request(t.Context(), c)
		if err != nil {
			return
		}
		if r.Serve != nil { // the whole of it is for net/http
			return
		}
		d, ok := r.Destination.(config.Destination)
		if !ok || d.Name != "db" || d.Datacenter != "" && d.Datacenter != "dc2" {
			t.Errorf("%q leads to %v", b, r.Destination)
		}
		// What is left goes to the far side, byte for byte.
		rest, _ := io.ReadAll(c)
		if !bytes.HasSuffix(b, append(r.Sent[:len(r.Sent):len(r.Sent)], rest...)) {
			t.Errorf("%q: %q and %q are sent on", b, r.Sent, rest)
		}
		if err := r.Granted(t.Context(), listener.Instance{}); err != nil || c.answered.Len() == 0 {
			t.Errorf("%q is not answered: %v", b, err)
		}
	})
}

func FuzzReadHead(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nA: b\r\n\r\nrest"), 3)
	f.Add([]byte("GET / HTTP/1.1\nA: b\n\nrest"), 1)
	f.Fuzz(func(t *testing.T, b []byte, first int) {
		if len(b) == 0 {
			return
		}
		c := &said{Reader: bytes.NewReader(b)}
		in := bufio.NewReaderSize(c, 16)
		_, _ = in.Peek(1 + max(0, first)%16)
		if in.Buffered() == 0 {
			return
		}
		head, rest, err := readHead(c, in)
		if err != nil {
			return
		}
		more, _ := io.ReadAll(c)
		if got := bytes.Join([][]byte{head, rest, more}, nil); !bytes.Equal(got, b) {
			t.Errorf("%q is read as %q, %q and %q", b, head, rest, more)
		}
		if end := endOfHead(b); end != len(head) {
			t.Errorf("%q: the head has %d bytes, want %d", b, len(head), end)
		}
	})
}
