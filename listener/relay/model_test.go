package relay

import (
	"bytes"
	"io"
	"maps"
	mrand "math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// script is what one application does, a byte a step: what to do in the upper
// two bits, how much of it in the rest.
type script []byte

const (
	opWrite  = iota // so many bytes, squared
	opYield         // let the others run
	opShrink        // write so many bytes one at a time
	opEnd           // half-close if the amount is even, else reset
)

// The last amounts of opYield are, on a detached end, what only TLS has.
const (
	amountViolation = 63 - iota
	amountFatal
	amountWarning
	amountAsk
	amountUpdate
)

// mostUseless is how many messages without content in a row are no violation.
const mostUseless = 16

// stream is the model of one direction: what its sender wrote, and whether it
// ended it in order.
type stream struct {
	sent  []byte
	ended bool
	reset bool
	// useless counts messages of TLS since the last content.
	useless int
}

// speak has d say something of TLS's own. It reports false if that ends the
// connection, or could not be said.
func (m *stream) speak(d *detached, amount int) bool {
	const handshakeFailure, userCanceled = 40, 90
	var err error
	switch amount {
	case amountViolation:
		err, m.reset = d.violate(), true
	case amountFatal:
		err, m.reset = d.alert(handshakeFailure), true
	case amountWarning:
		err = d.alert(userCanceled)
	default:
		err = d.update(amount == amountAsk)
	}
	m.useless++
	m.reset = m.reset || m.useless > mostUseless
	return err == nil && !m.reset
}

// play has c write by the script and says what it wrote.
func (s script) play(c Conn, rnd *mrand.Rand) stream {
	var m stream
	write := func(n int) bool {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		n, err := c.Write(p)
		if n > 0 {
			m.useless = 0
		}
		m.sent = append(m.sent, p[:n]...)
		return err == nil
	}
	for _, step := range s {
		amount := int(step & 63)
		ok := true
		switch step >> 6 {
		case opWrite:
			ok = write(amount * amount * 37)
		case opYield:
			if d, is := c.(*detached); is && amount >= amountUpdate {
				ok = m.speak(d, amount)
				break
			}
			for range amount {
				runtime.Gosched()
			}
		case opShrink:
			for i := 0; i < amount && ok; i++ {
				ok = write(1)
			}
		case opEnd:
			if amount%2 == 1 {
				m.reset = true
				reset(c)
				return m
			}
			m.ended = c.CloseWrite() == nil
			return m
		}
		if !ok {
			return m // the other side broke off
		}
	}
	m.ended = c.CloseWrite() == nil
	return m
}

// hear reads what comes until it ends, in pieces of odd sizes.
func hear(c Conn, rnd *mrand.Rand) (got []byte, clean bool) {
	for {
		p := make([]byte, 1+rnd.IntN(100_000))
		n, err := c.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			return got, err == io.EOF
		}
	}
}

// check runs two scripts through a relay and holds what arrived against what
// was sent: always a prefix of it, and all of it unless somebody broke off.
func check(t *testing.T, m *mesh, client, server script, seed uint64) {
	var up, down stream
	var atServer, atClient []byte
	var serverClean, clientClean bool
	var work sync.WaitGroup
	work.Go(func() { up = client.play(m.client, mrand.New(mrand.NewPCG(seed, 1))) })
	work.Go(func() { down = server.play(m.server, mrand.New(mrand.NewPCG(seed, 2))) })
	work.Go(func() { atServer, serverClean = hear(m.server, mrand.New(mrand.NewPCG(seed, 3))) })
	work.Go(func() { atClient, clientClean = hear(m.client, mrand.New(mrand.NewPCG(seed, 4))) })
	work.Wait()
	r := m.wait(t)
	if r.ToUpstream != m.counters.ToUpstream() || r.ToClient != m.counters.ToClient() {
		t.Fatalf("%d and %d bytes are counted of %+v", m.counters.ToUpstream(), m.counters.ToClient(), r)
	}
	if !bytes.HasPrefix(up.sent, atServer) && !bytes.HasPrefix(atServer, up.sent) ||
		!bytes.HasPrefix(down.sent, atClient) && !bytes.HasPrefix(atClient, down.sent) {
		t.Fatalf("other bytes came than were sent (%+v)", r)
	}
	if up.reset || down.reset {
		if r.End == Clean && (!slices.Equal(atServer, up.sent) || !slices.Equal(atClient, down.sent)) {
			t.Fatalf("bytes are missing from what ended as clean: %+v", r)
		}
		return
	}
	if r.End != Clean || r.Err != nil || r.ToUpstream != int64(len(up.sent)) || r.ToClient != int64(len(down.sent)) {
		t.Fatalf("%+v, want clean with %d and %d bytes", r, len(up.sent), len(down.sent))
	}
	if !serverClean || !clientClean || len(atServer) != len(up.sent) || len(atClient) != len(down.sent) {
		t.Fatalf("of %d and %d bytes %d and %d came (clean: %v, %v)",
			len(up.sent), len(down.sent), len(atServer), len(atClient), serverClean, clientClean)
	}
}

func TestWhatArrivesIsWhatTheModelSays(t *testing.T) {
	each(t, Options{HalfCloseTimeout: time.Minute}, func(t *testing.T, m *mesh) {
		check(t, m, script{63, 128 | 40, 64 | 9, 5, 192}, script{1, 63, 63, 63, 63, 64 | 30, 30}, 1)
	})
	for _, last := range []byte{0, amountViolation, amountFatal} {
		speaking := script{63, 64 | amountUpdate, 5, 64 | amountAsk, 64 | amountWarning, 63, 64 | amountAsk, 64 | last, 9}
		for name, s := range detachedShapes {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				connect(t, s, Options{HalfCloseTimeout: time.Minute}, func(t *testing.T, m *mesh) {
					check(t, m, speaking, script{1, 64 | amountAsk, 63, 64 | amountAsk, 63, 63, 64 | 30, 30}, 1)
				})
			})
		}
	}
	for seed := range uint64(5) {
		rnd := mrand.New(mrand.NewPCG(seed, 99))
		scripts := [2]script{make(script, rnd.IntN(20)), make(script, rnd.IntN(20))}
		for _, s := range scripts {
			for i := range s {
				s[i] = byte(rnd.Uint32())
			}
		}
		each(t, Options{HalfCloseTimeout: time.Minute}, func(t *testing.T, m *mesh) {
			check(t, m, scripts[0], scripts[1], seed)
		})
	}
}

func FuzzRelay(f *testing.F) {
	f.Add([]byte{63, 192}, []byte{63, 193}, uint8(0))
	f.Add([]byte{128 | 40, 64 | 9, 5}, []byte{192}, uint8(1))
	f.Add([]byte{193}, []byte{63, 63}, uint8(2))
	f.Add([]byte{63, 128 | 40, 64 | 9, 5, 192}, []byte{1, 63, 63, 64 | 30, 30, 193}, uint8(5))
	f.Add([]byte{63, 63, 128 | 63, 64 | 63, 192}, []byte{64 | 63, 63, 63, 192}, uint8(6))
	f.Add([]byte{63, 64 | amountUpdate, 64 | amountAsk, 63, 192}, []byte{1, 64 | amountWarning, 9}, uint8(7))
	f.Add([]byte{63, 64 | amountAsk, 64 | amountFatal}, []byte{63, 64 | amountAsk, 63, 193}, uint8(8))
	f.Add([]byte{9, 64 | amountViolation}, []byte{63, 64 | amountUpdate, 192}, uint8(9))
	kinds := []string{"plain", "TLS from client", "TLS to upstream", "TLS both", "copied from TLS", "moving", "TLS both, moving"}
	speaking := slices.Sorted(maps.Keys(detachedShapes))
	f.Fuzz(func(t *testing.T, client, server []byte, kind uint8) {
		if len(client) > 30 || len(server) > 30 {
			return
		}
		var s shape
		if k := int(kind) % (len(kinds) + len(speaking)); k < len(kinds) {
			s = shapes[kinds[k]]
		} else {
			s = detachedShapes[speaking[k-len(kinds)]]
		}
		connect(t, s, Options{HalfCloseTimeout: time.Minute}, func(t *testing.T, m *mesh) {
			check(t, m, client, server, uint64(kind))
		})
	})
}
