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

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
	"connect-proxy/listener/secure/record"
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
	a, b := listenertest.TCPPair(t)
	near, far := listenertest.TCPPair(t)
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
	_ = p.Raw.SetReadDeadline(time.Now().Add(30 * time.Second))
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
			if later := c.later(p.Records); len(later) > 0 { // an empty write may be what is told of the reset
				_, _ = p.Raw.Write(later)
			}
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

// What is inside of a record is seen after its protection is off, and answered
// alike on both sides of the relay.
func TestAViolationInsideOfARecordIsAnsweredWithItsAlertToo(t *testing.T) {
	e := New()
	defer e.Close()
	const week = 7 * 24 * 3600
	for name, c := range map[string]struct {
		content []byte
		typ     byte
		want    tls.AlertError
		server  bool // sends it
	}{
		"nothing but padding":              {make([]byte, 100), 0, 10, false},
		"nothing but padding, by a server": {make([]byte, 100), 0, 10, true},
		"an unknown type of record":        {[]byte("x"), 99, 10, false},
		"a session ticket by a client":     {ticket(3600), record.Handshake, 10, false},
		"a message of before":              {[]byte{1, 0, 0, 0}, record.Handshake, 10, false},
		"a key update that is too long":    {[]byte{keyUpdate, 0, 0, 2, 0, 0}, record.Handshake, 50, false},
		"a key update with no such value":  {[]byte{keyUpdate, 0, 0, 1, 2}, record.Handshake, 50, true},
		"half a session ticket":            {[]byte{newSessionTicket, 0, 0, 3, 0, 0, 0}, record.Handshake, 50, true},
		"a ticket that is good too long":   {ticket(week + 1), record.Handshake, 47, true},
		"a message that is too long":       {[]byte{newSessionTicket, 1, 0, 1}, record.Handshake, 80, true},
	} {
		t.Run(name, func(t *testing.T) {
			f, ours := forge(t, !c.server)
			near, _ := listenertest.TCPPair(t)
			done, end := make(chan Result, 1), ClientReset
			client, upstream := ours, net.Conn(near)
			if c.server {
				client, upstream, end = upstream, client, UpstreamReset
			}
			e.Start(client, upstream, Options{}, func(r Result) { done <- r })
			_, err := f.raw.Write(f.out.Seal(nil, c.content, c.typ))
			must(t, err)
			// crypto/tls says so of an alert that comes.
			if err := f.readAll(); err == nil || err.Error() != "remote error: "+c.want.Error() {
				t.Errorf("%v, want %v", err, c.want)
			}
			if _, err := f.raw.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("after the alert: %v", err)
			}
			if r := <-done; r.End != end || r.ToUpstream != 0 || r.ToClient != 0 {
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
			_ = p.Raw.SetReadDeadline(time.Now().Add(30 * time.Second))
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
