package relay

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mesh is what a test sees of one relayed connection: the application on either
// end, and the relay's last word.
type mesh struct {
	client, server Conn
	began          time.Time
	relay          *Relay
	result         chan Result
	counters       *Counters
}

// opaque hides what a connection is, so that it is copied by goroutines.
type opaque struct{ Conn }

func (o opaque) Abort() error {
	if a, ok := o.Conn.(interface{ Abort() error }); ok {
		return a.Abort()
	}
	_ = o.Conn.(*net.TCPConn).SetLinger(0)
	return o.Close()
}

type shape struct {
	secureClient, secureServer, opaque bool
	version                            uint16
	moving                             bool // between two loops, after each turn
	detached                           bool // the applications' ends of TLS
}

// shapes are the ways a connection can be relayed. secureClient and
// secureServer say on which side of the relay TLS is spoken.
var shapes = map[string]shape{
	"plain":             {},
	"TLS from client":   {secureClient: true},
	"TLS to upstream":   {secureServer: true},
	"TLS both":          {secureClient: true, secureServer: true},
	"moving":            {moving: true},
	"TLS both, moving":  {secureClient: true, secureServer: true, moving: true},
	"TLS 1.2":           {secureClient: true, version: tls.VersionTLS12},
	"copied":            {opaque: true},
	"copied from TLS":   {opaque: true, secureClient: true},
	"copied towards it": {opaque: true, secureServer: true},
}

// detachedShapes are those whose applications can speak of TLS.
var detachedShapes = map[string]shape{
	"detached client":         {secureClient: true, detached: true},
	"detached server":         {secureServer: true, detached: true},
	"detached both, moving":   {secureClient: true, secureServer: true, detached: true, moving: true},
	"copied from detached":    {secureClient: true, detached: true, opaque: true},
	"copied towards detached": {secureServer: true, detached: true, opaque: true},
}

func each(t *testing.T, o Options, f func(t *testing.T, m *mesh)) {
	for name, s := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connect(t, s, o, f)
		})
	}
}

// connect runs f with one relayed connection of shape s.
func connect(t *testing.T, s shape, o Options, f func(t *testing.T, m *mesh)) {
	e := New()
	defer e.Close()
	if s.moving {
		moveOften(e)
	}
	server, client := configs(t, s.version)
	if o.Counters == nil {
		o.Counters = new(Counters)
	}
	m := &mesh{result: make(chan Result, 1), counters: o.Counters}
	var inClient, inServer net.Conn
	end := func(secured, relayServes bool) (Conn, net.Conn) {
		if secured && s.detached {
			return detachedEnds(t, relayServes)
		}
		return leg(t, secured, client, server, relayServes)
	}
	m.client, inClient = end(s.secureClient, true)
	inServer, m.server = flip(end(s.secureServer, false))
	if s.opaque {
		inClient, inServer = opaque{inClient.(Conn)}, opaque{inServer.(Conn)}
	}
	m.began = time.Now()
	m.relay = e.Start(inClient, inServer, o, func(r Result) { m.result <- r })
	if app, is := m.server.(*tls.Conn); is {
		must(t, app.Handshake())
	}
	f(t, m)
}

func flip(a Conn, b net.Conn) (net.Conn, Conn) { return b, a }

// leg is one hop: an application's end in crypto/tls's own hands, and the
// relay's.
func leg(t testing.TB, secured bool, client, server *tls.Config, relayServes bool) (Conn, net.Conn) {
	t.Helper()
	a, b := listenertest.TCPPair(t)
	if !secured {
		return a, b
	}
	var app *tls.Conn
	var ours *secure.Conn
	var err error
	done := make(chan error, 1)
	if relayServes {
		app = tls.Client(a, client)
		go func() { done <- app.Handshake() }()
		ours, err = own(server).Server(t.Context(), b)
	} else {
		app = tls.Server(a, server)
		go func() { _ = app.Handshake() }() // ends once the relay sends our last flight
		done <- nil
		ours, err = own(client).Client(t.Context(), b)
	}
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return app, ours
}

// reset breaks an application's end off, as a crash does.
func reset(c Conn) {
	if over, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = over.NetConn().(*net.TCPConn)
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func (m *mesh) wait(t *testing.T) Result {
	t.Helper()
	select {
	case r := <-m.result:
		return r
	case <-time.After(30 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("the connection does not end\n%s", buf[:runtime.Stack(buf, true)])
		return Result{}
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAHalfClosedConnectionStaysOpenForTheAnswer(t *testing.T) {
	request, answer := random(3), random(1<<20)
	for _, who := range []string{"client", "server"} {
		t.Run(who, func(t *testing.T) {
			each(t, Options{HalfCloseTimeout: time.Minute}, func(t *testing.T, m *mesh) {
				asks, answers := m.client, m.server
				want := Result{ToUpstream: int64(len(request)), ToClient: int64(len(answer))}
				if who == "server" {
					asks, answers = answers, asks
					want.ToUpstream, want.ToClient = want.ToClient, want.ToUpstream
					want.UpstreamFirst = true
				}
				_, err := asks.Write(request)
				must(t, err)
				must(t, asks.CloseWrite())
				got, err := io.ReadAll(answers)
				must(t, err)
				if !bytes.Equal(got, request) {
					t.Fatal("the request changed on the way")
				}
				go func() { answers.Write(answer); answers.CloseWrite() }()
				got, err = io.ReadAll(asks)
				must(t, err)
				if !bytes.Equal(got, answer) {
					t.Fatal("the answer changed on the way")
				}
				if r := m.wait(t); r != want {
					t.Fatalf("%+v, want %+v", r, want)
				}
			})
		})
	}
}

func TestFullDuplexStreamsArriveWhole(t *testing.T) {
	each(t, Options{IdleTimeout: time.Minute}, func(t *testing.T, m *mesh) {
		up, down := random(5<<20+1), random(3<<20+7)
		var work sync.WaitGroup
		for _, w := range []struct {
			from, to Conn
			data     []byte
		}{{m.client, m.server, up}, {m.server, m.client, down}} {
			work.Go(func() { w.from.Write(w.data); w.from.CloseWrite() })
			work.Go(func() {
				h := sha256.New()
				if n, err := io.Copy(h, w.to); err != nil || !bytes.Equal(h.Sum(nil), sum(w.data)) {
					t.Errorf("%d of %d bytes came, %v", n, len(w.data), err)
				}
			})
		}
		work.Wait()
		r := m.wait(t)
		r.UpstreamFirst = false // whoever it was
		if r != (Result{ToUpstream: int64(len(up)), ToClient: int64(len(down))}) {
			t.Fatalf("%+v", r)
		}
	})
}

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

func TestAResetGoesOnAsAReset(t *testing.T) {
	for _, who := range []string{"client", "server"} {
		t.Run(who, func(t *testing.T) {
			each(t, Options{}, func(t *testing.T, m *mesh) {
				breaks, other, end := m.client, m.server, ClientReset
				if who == "server" {
					breaks, other, end = other, breaks, UpstreamReset
				}
				_, err := breaks.Write([]byte("half a mess"))
				must(t, err)
				_, err = io.ReadFull(other, make([]byte, 11))
				must(t, err)
				reset(breaks)
				if _, err := other.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the other side reads %v, want a reset", err)
				}
				if r := m.wait(t); r.End != end || r.Err == nil {
					t.Fatalf("%+v", r)
				}
			})
		})
	}
}

// TestAResetAfterAnEndGoesOnAsAReset is a side that has ended its direction and
// then goes for good: what the other one still sends has nowhere to go, and it
// is told so rather than left to wait.
func TestAResetAfterAnEndGoesOnAsAReset(t *testing.T) {
	for _, who := range []string{"client", "server"} {
		for name, s := range shapes {
			t.Run(who+", "+name, func(t *testing.T) {
				t.Parallel()
				connect(t, s, Options{}, func(t *testing.T, m *mesh) {
					breaks, other, end := m.client, m.server, ClientReset
					if who == "server" {
						breaks, other, end = other, breaks, UpstreamReset
					}
					must(t, breaks.CloseWrite())
					if n, err := other.Read(make([]byte, 1)); err != io.EOF {
						t.Fatalf("%d, %v", n, err)
					}
					reset(breaks)
					must(t, other.SetDeadline(time.Now().Add(30*time.Second)))
					// Goroutines see it when they have something to write.
					for s.opaque || len(m.result) == 0 {
						if _, err := other.Write(random(1000)); err != nil {
							break
						}
					}
					if r := m.wait(t); r.End != end || r.Err == nil {
						t.Fatalf("%+v", r)
					}
				})
			})
		}
	}
}

// TestAResetAfterAnEndIsNoticedInSilence is the same with nothing left to send.
func TestAResetAfterAnEndIsNoticedInSilence(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("goroutines notice it when they have something to write")
	}
	for name, s := range shapes {
		if s.opaque || s.version != 0 {
			continue // goroutines copy these
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connect(t, s, Options{}, func(t *testing.T, m *mesh) {
				answer := random(9000)
				_, err := m.server.Write(answer)
				must(t, err)
				must(t, m.server.CloseWrite())
				got, err := io.ReadAll(m.client)
				if err != nil || !bytes.Equal(got, answer) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				reset(m.server)
				if r := m.wait(t); r.End != UpstreamReset || r.Err == nil || r.ToClient != 9000 {
					t.Fatalf("%+v", r)
				}
			})
		})
	}
}

func TestTLSCutOffWithoutCloseNotifyIsNoEnd(t *testing.T) {
	for name, s := range shapes {
		if !s.secureClient {
			continue
		}
		t.Run(name, func(t *testing.T) {
			e := New()
			defer e.Close()
			server, client := configs(t, s.version)
			app, ours := leg(t, true, client, server, true)
			far, near := listenertest.TCPPair(t)
			done := make(chan Result, 1)
			e.Start(ours, near, Options{}, func(r Result) { done <- r })
			_, err := app.Write([]byte("first part"))
			must(t, err)
			_, err = io.ReadFull(far, make([]byte, 10))
			must(t, err)
			must(t, app.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite())
			if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the application reads %v, want a reset", err)
			}
			if r := <-done; r.End != ClientReset || r.Err == nil {
				t.Fatalf("%+v", r)
			}
		})
	}
}

func TestAnAnswerSentBeforeABreakIsDelivered(t *testing.T) {
	each(t, Options{}, func(t *testing.T, m *mesh) {
		// A server that refuses a body: it answers and closes without reading.
		answer := random(9000)
		_, err := m.client.Write(random(1000))
		must(t, err)
		_, err = m.server.Read(make([]byte, 1)) // the request has come
		must(t, err)
		_, err = m.server.Write(answer)
		must(t, err)
		go func() {
			for { // the client goes on sending until it is told off
				if _, err := m.client.Write(random(50_000)); err != nil {
					return
				}
			}
		}()
		got := make([]byte, len(answer))
		closed := make(chan struct{})
		go func() { reset(m.server); close(closed) }()
		if _, err := io.ReadFull(m.client, got); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("the answer did not arrive: %v", err)
		}
		<-closed
		if r := m.wait(t); r.End != UpstreamReset {
			t.Fatalf("%+v", r)
		}
	})
}

func TestTimeLimitsEndAConnection(t *testing.T) {
	const limit = 60 * time.Millisecond
	for name, c := range map[string]struct {
		o      Options
		before func(m *mesh)
		want   End
	}{
		"idle":     {Options{IdleTimeout: limit}, func(*mesh) {}, Idle},
		"lifetime": {Options{MaxLifetime: limit}, func(*mesh) {}, Lifetime},
		"half-closed by the client": {Options{HalfCloseTimeout: limit},
			func(m *mesh) { m.client.CloseWrite() }, HalfClose},
		"half-closed by the server": {Options{HalfCloseTimeout: limit},
			func(m *mesh) { m.server.CloseWrite() }, HalfClose},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, c.o, func(t *testing.T, m *mesh) {
				c.before(m)
				r := m.wait(t)
				if took := time.Since(m.began); r.End != c.want || took < limit-time.Millisecond {
					t.Fatalf("%+v after %v", r, took)
				}
			})
		})
	}
}

func TestBytesThatFlowPutTimeLimitsOff(t *testing.T) {
	const limit = time.Second // for a machine that stands still now and then
	each(t, Options{IdleTimeout: limit, HalfCloseTimeout: limit}, func(t *testing.T, m *mesh) {
		must(t, m.client.CloseWrite())
		beat := time.NewTicker(limit / 10)
		defer beat.Stop()
		for range 20 { // twice the limit in all
			<-beat.C
			_, err := m.server.Write([]byte{1})
			must(t, err)
			_, err = io.ReadFull(m.client, make([]byte, 1))
			must(t, err)
		}
		must(t, m.server.CloseWrite())
		if r := m.wait(t); r != (Result{ToClient: 20}) {
			t.Fatalf("%+v", r)
		}
	})
}

func TestCloseBreaksOffAndEngineCloseLeavesNothing(t *testing.T) {
	each(t, Options{}, func(t *testing.T, m *mesh) {
		m.relay.Close()
		m.relay.Close()
		if r := m.wait(t); r.End != Closed {
			t.Fatalf("%+v", r)
		}
		if _, err := m.client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the client reads %v, want a reset", err)
		}
		m.relay.Close()
	})
	e := New()
	ends := make(chan Result, 100)
	for i := range 50 {
		a, _ := listenertest.TCPPair(t)
		b, _ := listenertest.TCPPair(t)
		var client net.Conn = a
		if i%2 == 0 {
			client = opaque{a}
		}
		e.Start(client, b, Options{}, func(r Result) { ends <- r })
	}
	e.Close()
	a, _ := listenertest.TCPPair(t)
	b, _ := listenertest.TCPPair(t)
	e.Start(a, b, Options{}, func(r Result) { ends <- r })
	e.Close()
	for range 51 {
		if r := <-ends; r.End != Closed {
			t.Fatalf("%+v", r)
		}
	}
}

// A receiver that does not read must hold its sender up, not fill our memory.
func TestASlowReceiverHoldsItsSenderUp(t *testing.T) {
	each(t, Options{}, func(t *testing.T, m *mesh) {
		var sent int64
		m.client.SetWriteDeadline(time.Now().Add(30 * time.Second))
		chunk := random(256 << 10)
		for {
			m.client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			n, err := m.client.Write(chunk)
			sent += int64(n)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			must(t, err)
			if sent > 64<<20 {
				t.Fatal("the sender was never held up")
			}
		}
		reset(m.client)
		// Everything the server reads must be what was sent, in order.
		got, _ := io.ReadAll(m.server)
		for i := 0; i < len(got); i += len(chunk) {
			if part := got[i:min(i+len(chunk), len(got))]; !bytes.Equal(part, chunk[:len(part)]) {
				t.Fatalf("the bytes behind %d are not what was sent", i)
			}
		}
		m.wait(t)
	})
}

// What a client sends right away travels with the last flight of our handshake,
// and what comes with such a flight reaches the application.
func TestFirstBytesTravelWithTheHandshake(t *testing.T) {
	e := New()
	defer e.Close()
	server, client := configs(t, 0)
	app, inClient := listenertest.TCPPair(t)
	_, err := app.Write([]byte("early"))
	must(t, err)
	a, b := listenertest.TCPPair(t)
	far, inServer := listenertest.TCPPair(t)
	done := make(chan Result, 2)
	go func() {
		out, err := own(client).Client(t.Context(), a)
		if err != nil {
			t.Error(err)
			return
		}
		e.Start(inClient, out, Options{}, func(r Result) { done <- r })
	}()
	in, err := own(server).Server(t.Context(), b)
	must(t, err)
	e.Start(in, inServer, Options{}, func(r Result) { done <- r })
	got := make([]byte, 5)
	_, err = io.ReadFull(far, got)
	must(t, err)
	if string(got) != "early" {
		t.Fatalf("%q", got)
	}
	must(t, app.Close())
	_, err = far.Read(got)
	if err != io.EOF {
		t.Fatal(err)
	}
	must(t, far.Close())
	for range 2 {
		if r := <-done; r.End != Clean || r.ToUpstream != 5 || r.ToClient != 0 {
			t.Fatalf("%+v", r)
		}
	}
}

// A peer may ask for new keys as often as it likes, without reading: what we
// answer must not pile up.
func TestAPeerThatAsksForKeysWithoutReadingHoldsNoMemory(t *testing.T) {
	e := New()
	defer e.Close()
	server, client := configs(t, 0)
	a, b := listenertest.TCPPair(t)
	near, far := listenertest.TCPPair(t)
	var work sync.WaitGroup
	var ours *secure.Conn
	var err error
	work.Go(func() { ours, err = own(server).Server(t.Context(), b) })
	app, _ := own(client).Client(t.Context(), a)
	d, ok := app.Detach()
	if !ok {
		t.Fatal("the application's end could not be detached")
	}
	_, werr := d.Raw.Write(d.Unsent)
	must(t, werr)
	work.Wait()
	must(t, err)
	done := make(chan Result, 1)
	e.Start(ours, near, Options{}, func(r Result) { done <- r })
	// Fill the way to the application first, so that answers have to wait.
	far.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for _, err := far.Write(random(1 << 20)); err == nil; {
		_, err = far.Write(random(1 << 20))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const questions = 20_000
	one := make([]byte, 1)
	for range questions { // one by one: those that come together get one answer
		_, err := d.Raw.Write(d.Records.Seal(d.Records.Update(nil, true), []byte("x ")[:1]))
		must(t, err)
		_, err = io.ReadFull(far, one)
		must(t, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 512<<10 {
		t.Fatalf("%d bytes are held for %d questions", grown, questions)
	}
	must(t, far.SetLinger(0))
	must(t, far.Close())
	d.Raw.Close()
	<-done
}

func TestManyConnectionsOpenedAndClosedInEveryWayLeaveNothing(t *testing.T) {
	before := descriptors(t)
	e := New()
	server, client := configs(t, 0)
	var work sync.WaitGroup
	limit := make(chan struct{}, 16)
	for i := range 400 {
		limit <- struct{}{}
		app, ours := leg(t, i%2 == 0, client, server, true)
		far, near := listenertest.TCPPair(t)
		work.Add(1)
		e.Start(ours, near, Options{HalfCloseTimeout: 20 * time.Millisecond}, func(Result) {
			app.Close()
			far.Close()
			<-limit
			work.Done()
		})
		go func() {
			app.Write(random(i))
			switch i % 5 {
			case 0:
				app.Close()
				far.Close()
			case 1:
				app.CloseWrite()
			case 2:
				reset(app)
			case 3:
				far.CloseWrite()
			case 4:
				reset(far)
			}
		}()
	}
	work.Wait()
	e.Close()
	if after := descriptors(t); after > before {
		t.Fatalf("%d descriptors were open before and %d are now", before, after)
	}
}

func descriptors(t *testing.T) int {
	if runtime.GOOS != "linux" {
		t.Skip("this system does not list descriptors")
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestEndsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for e := Clean; e <= Closed; e++ {
		seen[fmt.Sprint(e)] = true
	}
	if len(seen) != int(Closed)+1 || End(99).String() != "end 99" {
		t.Fatal(seen)
	}
}
