package accesslog

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// unread is a log of all connections whose reader has stopped.
func unread(t *testing.T) *Log {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	_ = w.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("filling a pipe: %v", err)
	}
	_ = w.SetWriteDeadline(time.Time{})
	l := New(Options{Stdout: w, Stderr: io.Discard, JSON: true})
	if _, err := l.Update(config.AccessLog{Connections: config.AccessLogAll}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(0) })
	return l
}

// heap is how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what a sync.Pool has given up
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestWhatStrangersPresentIsNotKeptForALogThatNobodyReads(t *testing.T) {
	ca, key := listenertest.NewCA(t), listenertest.NewKey(t)
	stranger := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // another each time, or crypto/tls would keep one for all
		c := listenertest.IssueFor(t, x509.Certificate{
			Subject: pkix.Name{CommonName: "stranger"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1}, Value: make([]byte, 200<<10)}},
		}, nil, key).TLS()
		return &c, nil
	}
	log, server := unread(t), ca.ServerTLS(ca.Leaf(t, "db"))
	o := listener.Options{
		Name: "public", Observer: log.Observer(public), MaxHandshakes: 16, HandshakeTimeout: time.Minute,
		Handshake: func(ctx context.Context, raw net.Conn) (listener.Session, error) {
			c := tls.Server(raw, server)
			err := c.HandshakeContext(ctx)
			if !errors.As(err, new(x509.UnknownAuthorityError)) {
				t.Errorf("the handshake of a stranger ends with %v", err)
			}
			return listener.Session{}, err
		},
		Authorize: func(context.Context, listener.Session) error { return errors.New("a stranger has been let in") },
		Dial:      func(context.Context) (listener.Target, error) { return listener.Target{}, errors.New("nowhere") },
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := listener.New(ln, o)
	if err != nil {
		t.Fatal(err)
	}
	listenertest.Run(t, func(ctx context.Context) error { return cmp.Or(l.Run(ctx), ctx.Err()) })
	const strangers = 120
	before := heap()
	for n := range strangers {
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{GetClientCertificate: stranger, InsecureSkipVerify: true})
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // until it is refused
			c.Close()
		}
		if err == nil {
			t.Fatalf("stranger %d is not refused", n)
		}
	}
	if grown := heap() - before; grown > strangers*200<<10/3 {
		t.Errorf("%d kB are held for %d strangers, with a log that takes %d kB", grown>>10, strangers, writing.Size>>10)
	}
}

// large is a connection whose every text is as long as a stranger may make it.
func large(i int) listener.Summary {
	text := func() string { return strings.Repeat("x", 64<<10) }
	s := denied()
	s.ID, s.Peer, s.Serial, s.ServerName, s.User = uint64(i), text(), text(), text(), text()
	s.Instance = listener.Instance{ID: text(), Address: text(), Session: s.SessionInfo}
	s.Destination, s.Err = config.Destination{Name: text()}, fmt.Errorf("no: %w", errors.New(text()))
	return s
}

func TestTheTextsOfAQueuedRecordAreBoundedAndCounted(t *testing.T) {
	l := unread(t)
	o := l.Observer(ListenerInfo{Direction: Outbound, Intention: func(string) string { return strings.Repeat("y", 64<<10) }})
	before := heap()
	for i := range 2000 {
		o.ConnClosed(large(i))
	}
	if grown := heap() - before; grown > 2<<20 {
		t.Errorf("%d kB are held, with a log that takes %d kB", grown>>10, writing.Size>>10)
	}
	if l.Dropped() < 1900 {
		t.Errorf("%d were dropped of 2000 that are many times what the queue takes", l.Dropped())
	}
	if n := int(unsafe.Sizeof(queuedRecord{}) + 2*(unsafe.Sizeof(net.TCPAddr{})+net.IPv6len)); n > recordSize {
		t.Errorf("a record takes %d bytes, and counts for %d", n, recordSize)
	}
}

// An error may be somebody's else, who goes on using it.
func TestAnErrorIsReadWhileItsConnectionIsClosed(t *testing.T) {
	s := denied()
	e := &changing{"as it was"}
	s.Err = e
	var out agenttest.Log
	l := New(Options{Stdout: &out, Stderr: io.Discard, JSON: true})
	if _, err := l.Update(config.AccessLog{Connections: config.AccessLogAll}); err != nil {
		t.Fatal(err)
	}
	l.Observer(public).ConnClosed(s)
	e.text = "as it is now"
	if !l.Close(30*time.Second) || !strings.Contains(out.String(), "as it was") {
		t.Errorf("%q", out.String())
	}
}

type changing struct{ text string }

func (c *changing) Error() string { return c.text }
