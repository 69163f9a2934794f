package secure

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// FuzzFirstFlight has two clients shake hands under one client random at the
// same time. The first flight of each is framed, cut, mixed with other records
// and damaged as the fuzzer likes, and the second flights come in either order.
// A connection either fails or is its own client's.
func FuzzFirstFlight(f *testing.F) {
	f.Add([]byte{}, []byte{1, 0}, false)
	f.Add([]byte{}, []byte{0, 6}, true)
	f.Add([]byte{0, 4, 1, 0, 4, 0}, []byte{1, 0, 1, 0, 0, 60, 3, 0}, false)
	f.Fuzz(func(t *testing.T, one, other []byte, otherFirst bool) {
		if len(one) > 64 || len(other) > 64 {
			return
		}
		shared := sharedConfigs(t)
		random := make([]byte, 32)
		_, _ = rand.Read(random)
		clients := [2]*framedClient{}
		for i, script := range [][]byte{one, other} {
			clients[i] = newFramedClient(t, shared, random, script)
			defer clients[i].end()
		}
		for _, c := range clients { // both are in the middle of their handshake
			select {
			case <-c.held:
			case <-c.over:
			}
		}
		if otherFirst {
			clients[0], clients[1] = clients[1], clients[0]
		}
		for i, c := range clients {
			close(c.release)
			<-c.over
			c.check(t, i)
		}
	})
}

// framedClient is a client whose first flight a script changes.
type framedClient struct {
	net.Conn
	raw     net.Conn
	script  []byte
	flights int
	held    chan struct{} // closed when the second flight is there
	release chan struct{}
	over    chan struct{} // closed when both ends have done with the handshake

	client    *tls.Conn
	clientErr error
	server    *Conn
	serverErr error
}

func newFramedClient(t testing.TB, shared configPair, random, script []byte) *framedClient {
	a, b := listenertest.TCPPair(t)
	_ = a.SetDeadline(time.Now().Add(2 * time.Second))
	c := &framedClient{
		Conn: a, raw: b, script: script,
		held: make(chan struct{}), release: make(chan struct{}), over: make(chan struct{}),
	}
	cfg := shared.client.Clone()
	cfg.ClientSessionCache = nil
	cfg.Rand = &firstRandom{random: random}
	c.client = tls.Client(c, cfg)
	var work sync.WaitGroup
	work.Go(func() {
		if c.clientErr = c.client.Handshake(); c.clientErr != nil {
			a.Close()
		}
	})
	work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if c.server, c.serverErr = own(shared.server).Server(ctx, b); c.serverErr != nil {
			b.Close()
		}
	})
	go func() { work.Wait(); close(c.over) }()
	return c
}

func (c *framedClient) Write(p []byte) (int, error) {
	c.flights++
	switch c.flights {
	case 1:
		return len(p), c.writeFramed(p)
	case 2:
		close(c.held)
		<-c.release
	}
	return c.Conn.Write(p)
}

// writeFramed writes the record hello as the script says, two bytes a step.
func (c *framedClient) writeFramed(hello []byte) error {
	rest := append([]byte(nil), hello[5:]...)
	var segment []byte
	fragment := func(n int) {
		n = min(n, len(rest))
		segment = append(segment, 22, 3, 1)
		segment = append(binary.BigEndian.AppendUint16(segment, uint16(n)), rest[:n]...)
		rest = rest[n:]
	}
	for s := c.script; len(s) >= 2; s = s[2:] {
		switch n := int(s[1]); s[0] % 7 {
		case 0:
			fragment(n)
		case 1:
			segment = append(segment, 21, 3, 1, 0, 2, 1, byte(n)) // a warning
		case 2:
			segment = append(segment, 20, 3, 3, 0, 1, 1)
		case 3: // what is there goes by itself
			if _, err := c.Conn.Write(segment); err != nil {
				return err
			}
			segment = nil
		case 4:
			fragment(0)
		case 5:
			if len(rest) > 0 {
				rest[n%len(rest)] ^= 1
			}
		case 6:
			segment = append(segment, segment...)
			segment = segment[:min(len(segment), 4096)]
		}
	}
	if len(rest) > 0 {
		fragment(len(rest))
	}
	_, err := c.Conn.Write(segment)
	return err
}

// check has both ends say something if both believe in the handshake.
func (c *framedClient) check(t *testing.T, i int) {
	t.Helper()
	if c.clientErr != nil || c.serverErr != nil {
		return
	}
	// What is written now counts as a record also where time is up: the handshake's
	// own deadline must not end it.
	_ = c.Conn.SetDeadline(time.Now().Add(30 * time.Second))
	tag := string(rune('a' + i))
	d := detach(t, c.server)
	go func() { _, _ = io.WriteString(c.client, tag); _ = c.client.CloseWrite() }()
	buf := make([]byte, 1<<10)
	got := ""
	for src := d.Unread; got == ""; {
		content, used, err := d.Records.Open(make([]byte, 0, 1<<15), src)
		if err != nil && err != io.EOF {
			t.Fatalf("connection %d is not its client's: %v", i, err)
		}
		if got, src = string(content), src[used:]; got != "" {
			break
		}
		n, err := d.Raw.Read(buf)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		src = append(src, buf[:n]...)
	}
	if got != tag {
		t.Fatalf("connection %d got %q", i, got)
	}
	_ = d.write([]byte("answer to " + tag))
	answer := make([]byte, len("answer to a"))
	if _, err := io.ReadFull(c.client, answer); err != nil || string(answer) != "answer to "+tag {
		t.Fatalf("client %d got %q, %v", i, answer, err)
	}
}

func (c *framedClient) end() {
	select {
	case <-c.release:
	default:
		close(c.release)
	}
	c.Conn.Close()
	c.raw.Close()
	<-c.over
}

// firstRandom is a source of which the first 32 bytes are given: the client
// random.
type firstRandom struct {
	random []byte
	used   bool
}

func (f *firstRandom) Read(p []byte) (int, error) {
	if !f.used && len(p) == len(f.random) {
		f.used = true
		return copy(p, f.random), nil
	}
	return rand.Read(p)
}
