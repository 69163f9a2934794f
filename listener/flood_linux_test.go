package listener_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

const (
	floodHeld    = 2000
	floodRate    = 500 // a second
	floodLasts   = 3 * time.Second
	floodClients = 40
)

// TestFortyClientsAreServedAmongStrangers has strangers hold all the places
// they can get and come without pause, and clients in between.
func TestFortyClientsAreServedAmongStrangers(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds: not with -short")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if files.Max < 8192 {
		t.Skipf("it takes 8192 file descriptors; the hard limit, ulimit -Hn, is %d", files.Max)
	}
	hello, costly := clientHello(t, tls.CurveP256), clientHello(t, tls.CurveP384)
	shapes := map[string][]holding{
		"silent": {{}},
		"half-speaking": {
			{says: hello[:1]},
			{says: hello, slowly: true},
			{says: hello},
			{says: costly},
		},
	}
	// The clients come from the one address too, or from none of the many.
	sources := map[string]func(i int) net.IP{
		"one address":    func(int) net.IP { return net.IPv4(127, 0, 0, 1) },
		"many addresses": func(i int) net.IP { return net.IPv4(127, 1, byte(i>>8), byte(i)) },
	}
	for shape, holdings := range shapes {
		for source, from := range sources {
			t.Run(shape+" from "+source, func(t *testing.T) { withstand(t, holdings, from) })
		}
	}
}

func withstand(t *testing.T, shapes []holding, from func(int) net.IP) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	cfg := w.ca.ServerTLS(w.db)
	cfg.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384}
	o := w.public(app.Addr())
	o.Handshake = handshake(cfg)
	var seen tally
	o.Observer = &seen
	l := start(t, o)
	before := footprint()

	rate, most := float64(floodRate), time.Second
	if raceEnabled {
		// Handshakes take ten times as long then, and so many of them a second are
		// more than the machine has. make test runs this test without the detector
		// too.
		rate, most = floodRate/5, 15*time.Second
	}
	f := &flood{to: l.Addr().String(), from: from, shapes: shapes, rate: rate}
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan struct{})
	var strangers sync.WaitGroup
	strangers.Go(func() { f.run(ctx, held) })
	<-held
	listenertest.Eventually(t, "places are taken and others wait for none", func() bool {
		return seen.count() >= floodHeld-listener.DefaultMaxHandshakes
	})

	var visits sync.WaitGroup
	took := make([]time.Duration, floodClients)
	for i := range floodClients {
		visits.Go(func() {
			began := time.Now()
			if err := visitEcho(l.Addr().String(), w); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			took[i] = time.Since(began)
		})
		<-time.After(floodLasts / floodClients)
	}
	visits.Wait()
	after := footprint()
	cancel()
	strangers.Wait()

	slices.Sort(took)
	grown := int64(after.heap+after.stack) - int64(before.heap+before.stack)
	t.Logf("%d strangers; clients took %v in the middle, %v at most; %d kB and %d goroutines more",
		f.n, took[floodClients/2], took[floodClients-1], grown>>10, after.goroutines-before.goroutines)
	if worst := took[floodClients-1]; worst > most {
		t.Errorf("a client waited for %v", worst)
	}
	if most := listener.DefaultMaxHandshakes + 128; after.goroutines-before.goroutines > most {
		t.Errorf("%d goroutines more, want at most %d", after.goroutines-before.goroutines, most)
	}
	if grown > 64<<20 {
		t.Errorf("memory has grown by %d bytes", grown)
	}
}

// visitEcho connects as web, has five bytes answered, and goes.
func visitEcho(addr string, w world) error {
	raw, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
	c := tls.Client(raw, w.ca.ClientTLS(w.web))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	var b [5]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if string(b[:]) != "hello" {
		return errors.New("another answer")
	}
	return nil
}

// holding is how a stranger holds a place: what it says before it falls silent.
type holding struct {
	says   []byte
	slowly bool // a byte each 100 ms
}

// flood is strangers who hold what they get.
type flood struct {
	to     string
	from   func(i int) net.IP
	shapes []holding
	rate   float64 // of those that come while the first hold their places, a second
	n      int

	mu   sync.Mutex
	open []*stranger
}

type stranger struct {
	net.Conn
	rest []byte // what it says a byte at a time
}

// run has floodHeld strangers connect, closes held, and has rate more connect each
// second.
func (f *flood) run(ctx context.Context, held chan<- struct{}) {
	var slow sync.WaitGroup
	slow.Go(func() { f.speakSlowly(ctx) })
	for f.n < floodHeld {
		f.connect(ctx)
	}
	close(held)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ctx.Err() == nil; {
		for due := floodHeld + int(time.Since(began).Seconds()*f.rate); f.n < due; {
			f.connect(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	slow.Wait()
	for _, s := range f.open {
		_ = s.Close()
	}
}

// connect has one more stranger connect, which may be cut while it does.
func (f *flood) connect(ctx context.Context) {
	shape := f.shapes[f.n%len(f.shapes)]
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: f.from(f.n)}}
	f.n++
	c, err := d.DialContext(ctx, "tcp", f.to)
	if err != nil {
		return
	}
	s := &stranger{Conn: c}
	if shape.slowly {
		s.rest = shape.says
	} else {
		_, _ = c.Write(shape.says)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = append(f.open, s)
}

func (f *flood) speakSlowly(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		f.mu.Lock()
		open := slices.Clone(f.open)
		f.mu.Unlock()
		for _, s := range open {
			if len(s.rest) == 0 {
				continue
			}
			if _, err := s.Write(s.rest[:1]); err != nil {
				s.rest = nil // it was cut
			} else {
				s.rest = s.rest[1:]
			}
		}
	}
}

// clientHello is the first flight of a client with a key share of one curve.
func clientHello(t testing.TB, curve tls.CurveID) []byte {
	near, far := net.Pipe()
	sent := make(chan []byte, 1)
	go func() {
		b := make([]byte, 4096)
		n, _ := far.Read(b)
		_ = far.Close()
		sent <- b[:n]
	}()
	_ = tls.Client(near, &tls.Config{
		InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{curve},
	}).Handshake()
	_ = near.Close()
	hello := <-sent
	if len(hello) < 100 {
		t.Fatalf("the hello has %d bytes", len(hello))
	}
	return hello
}
