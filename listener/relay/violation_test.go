//go:build linux

package relay

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"connect-proxy/listener/secure"
)

// peer is the client of a relayed connection, which may send what it likes.
type peer struct {
	secure.Detached
	done chan Result
}

// newPeer has e relay between a client, which sends first right behind the last
// flight of its handshake, and far.
func newPeer(t *testing.T, e *Engine, first func(*secure.Records) []byte) (p *peer, far *net.TCPConn) {
	t.Helper()
	server, client := configs(t, 0)
	a, b := tcpPair(t)
	near, far := tcpPair(t)
	var ours *secure.Conn
	var work sync.WaitGroup
	var err error
	work.Go(func() { ours, err = own(server).Server(t.Context(), b) })
	theirs, cerr := own(client).Client(t.Context(), a)
	must(t, cerr)
	d, ok := theirs.Detach()
	if !ok {
		t.Fatal("the client's end could not be detached")
	}
	_, werr := d.Raw.Write(append(d.Unsent, first(d.Records)...))
	must(t, werr)
	work.Wait()
	must(t, err)
	p = &peer{d, make(chan Result, 1)}
	e.Start(ours, near, Options{}, func(r Result) { p.done <- r })
	return p, far
}

// read opens what comes, up to an error.
func (p *peer) read() error {
	_ = p.Raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf, src := make([]byte, 64<<10), p.Unread
	for {
		_, used, err := p.Records.Open(make([]byte, 0, 64<<10), src)
		if err != nil {
			return err
		}
		src = src[used:]
		n, err := p.Raw.Read(buf)
		if err != nil {
			return err
		}
		src = append(src, buf[:n]...)
	}
}

func TestAViolationOfTLSIsAnsweredWithItsAlertBeforeTheReset(t *testing.T) {
	e := New()
	defer e.Close()
	nothing := func(*secure.Records) []byte { return nil }
	altered := func(r *secure.Records) []byte {
		b := r.Seal(nil, []byte("altered"))
		b[len(b)-1] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		first, later func(*secure.Records) []byte
		want         tls.AlertError
	}{
		"a record that does not open":    {nothing, altered, 20},
		"one that comes with the flight": {altered, nothing, 20},
		"a record that is too long": {nothing, func(*secure.Records) []byte {
			return []byte{23, 3, 3, 0x50, 0}
		}, 22},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := newPeer(t, e, c.first)
			_, _ = p.Raw.Write(c.later(p.Records))
			var alert tls.AlertError
			if err := p.read(); !errors.As(err, &alert) || alert != c.want {
				t.Errorf("%v", err)
			}
			if _, err := p.Raw.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("after the alert: %v", err)
			}
			if r := <-p.done; r.End != ClientReset || r.ToUpstream != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestAPeersRequestForANewKeyIsAnsweredAtOnce(t *testing.T) {
	e := New()
	defer e.Close()
	ask := func(r *secure.Records) []byte { return r.Update(nil, true) }
	nothing := func(*secure.Records) []byte { return nil }
	for name, c := range map[string]struct{ first, later func(*secure.Records) []byte }{
		"later":                {nothing, ask},
		"with the last flight": {ask, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			p, far := newPeer(t, e, c.first)
			_, _ = p.Raw.Write(c.later(p.Records))
			_ = p.Raw.SetReadDeadline(time.Now().Add(10 * time.Second))
			// A key update is a message of 5 bytes; a session ticket may come first.
			for n := 0; n != 5+secure.Overhead; {
				header := make([]byte, 5)
				if _, err := io.ReadFull(p.Raw, header); err != nil {
					t.Fatalf("no answer: %v", err)
				}
				body := make([]byte, binary.BigEndian.Uint16(header[3:]))
				_, err := io.ReadFull(p.Raw, body)
				must(t, err)
				n = len(header) + len(body)
				_, _, err = p.Records.Open(make([]byte, 0, 64<<10), append(header, body...))
				must(t, err)
			}
			_ = far.Close()
			if err := p.read(); err != io.EOF {
				t.Error(err)
			}
			_ = p.Raw.Close()
			<-p.done
		})
	}
}
