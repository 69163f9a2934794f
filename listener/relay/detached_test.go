package relay

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

// detached is an application's end of a TLS connection that can say what crypto/tls
// says only by itself: key updates and alerts.
type detached struct {
	net.Conn
	mu      sync.Mutex // guards records, since Open leaves an answer to the next Seal
	records *secure.Records
	src     []byte // read and not opened
	content []byte // opened and not read
	asked   int    // for key updates
}

var _ Conn = (*detached)(nil)

// detachedEnds are the two ends of a TLS connection: that of an application, and
// the relay's.
func detachedEnds(t *testing.T, relayServes bool) (*detached, net.Conn) {
	t.Helper()
	server, client := configs(t, 0)
	a, b := listenertest.TCPPair(t)
	type shaken struct {
		conn *secure.Conn
		err  error
	}
	done := make(chan shaken, 1)
	go func() {
		conn, err := own(server).Server(t.Context(), b)
		done <- shaken{conn, err}
	}()
	app, err := own(client).Client(t.Context(), a)
	must(t, err)
	must(t, app.Flush())
	end := <-done
	must(t, end.err)
	ours := end.conn
	if !relayServes {
		app, ours = ours, app
	}
	d, ok := app.Detach()
	if !ok {
		t.Fatal("the application's end could not be detached")
	}
	return &detached{Conn: d.Raw, records: d.Records, src: bytes.Clone(d.Unread)}, ours
}

// NetConn is the socket.
func (d *detached) NetConn() net.Conn { return d.Conn }

func (d *detached) Read(p []byte) (int, error) {
	buf := make([]byte, 32<<10)
	for len(d.content) == 0 {
		d.mu.Lock()
		content, used, err := d.records.Open(make([]byte, 0, 64<<10), d.src)
		d.mu.Unlock()
		d.content, d.src = content, d.src[used:]
		if len(content) > 0 {
			break
		}
		if err != nil {
			return 0, err
		}
		if used > 0 {
			continue
		}
		n, err := d.Conn.Read(buf)
		if err == io.EOF {
			err = secure.ErrTruncated
		}
		if err != nil {
			return 0, err
		}
		d.src = append(d.src, buf[:n]...)
	}
	n := copy(p, d.content)
	d.content = d.content[n:]
	return n, nil
}

// send writes what is sealed, under the lock of its records.
func (d *detached) send(seal func(*secure.Records) []byte) error {
	d.mu.Lock()
	sealed := seal(d.records)
	d.mu.Unlock()
	_, err := d.Conn.Write(sealed)
	return err
}

func (d *detached) Write(p []byte) (int, error) {
	if err := d.send(func(r *secure.Records) []byte { return r.Seal(nil, bytes.Clone(p)) }); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite sends a close_notify.
func (d *detached) CloseWrite() error {
	return d.send(func(r *secure.Records) []byte { return r.CloseNotify(nil) })
}

// maxAsked is how many key updates the far side is asked for: more in a row, without
// content, would be a violation of its own.
const maxAsked = 10

// update replaces the key of what follows.
func (d *detached) update(ask bool) error {
	if ask {
		d.asked++
	}
	return d.send(func(r *secure.Records) []byte { return r.Update(nil, ask && d.asked <= maxAsked) })
}

// alert sends one.
func (d *detached) alert(a tls.AlertError) error {
	return d.send(func(r *secure.Records) []byte { return r.Alert(nil, a) })
}

// violate sends a record that does not open.
func (d *detached) violate() error {
	return d.send(func(r *secure.Records) []byte {
		b := r.Seal(nil, []byte("altered"))
		b[len(b)-1] ^= 1
		return b
	})
}
