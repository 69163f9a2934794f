package secure

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	mrand "math/rand/v2"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/secure/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configs are a server's and a client's configuration that trust each other.
func configs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	server, client = listenertest.TLSPair(t)
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	return server, client
}

// own leaves the records to this package.
func own(cfg *tls.Config) *Config { return &Config{TLS: cfg, OwnRecords: true} }

// shake makes a connection of which ours is this package's end, with its own
// records, and theirs crypto/tls's.
func shake(t testing.TB, server, client *tls.Config, weServe bool) (ours *Conn, theirs *tls.Conn) {
	t.Helper()
	a, b := listenertest.TCPPair(t)
	done := make(chan error, 1)
	var err error
	if weServe {
		theirs = tls.Client(a, client)
		go func() { done <- theirs.Handshake() }()
		ours, err = own(server).Server(t.Context(), b)
	} else {
		theirs = tls.Server(b, server)
		go func() { done <- theirs.Handshake() }()
		ours, err = own(client).Client(t.Context(), a)
		if err == nil {
			err = ours.Flush() // the other end waits for it here
		}
	}
	if err = errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// detached is a blocking connection over a Detached, for tests.
type detached struct {
	Detached
	src []byte
}

func detach(t testing.TB, c *Conn) *detached {
	t.Helper()
	d, ok := c.Detach()
	if !ok {
		t.Fatal("the connection could not be detached")
	}
	return &detached{Detached: d, src: d.Unread}
}

// readAll opens everything up to the peer's close_notify, in reads of odd sizes.
func (d *detached) readAll(rnd *mrand.Rand) ([]byte, error) {
	var all []byte
	buf := make([]byte, 80<<10)
	for {
		room := make([]byte, 0, record.MaxPlaintext+300+rnd.IntN(60<<10))
		out, used, err := d.Records.Open(room, d.src)
		all = append(all, out...)
		d.src = d.src[used:]
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if used > 0 {
			continue
		}
		n, err := d.Raw.Read(buf[:1+rnd.IntN(len(buf)-1)])
		if err != nil {
			return all, err
		}
		d.src = append(d.src, buf[:n]...)
	}
}

func (d *detached) write(p []byte) error {
	_, err := d.Raw.Write(d.Records.Seal(nil, append([]byte(nil), p...)))
	return err
}

func TestADetachedConnectionCarriesOnWithEitherRoleEverySuiteAndResumed(t *testing.T) {
	suites := map[string]uint16{
		"AES_128": tls.TLS_AES_128_GCM_SHA256, "AES_256": tls.TLS_AES_256_GCM_SHA384,
		"CHACHA20": tls.TLS_CHACHA20_POLY1305_SHA256,
	}
	for _, weServe := range []bool{true, false} {
		server, client := configs(t)
		for i := range 3 {
			ours, theirs := shake(t, server, client, weServe)
			if got := ours.ConnectionState().DidResume; got != (i > 0) {
				t.Fatalf("serving %v, connection %d: resumed is %v", weServe, i, got)
			}
			carry(t, ours, theirs, uint64(i))
		}
	}
	for name, id := range suites {
		t.Run(name, func(t *testing.T) {
			s, _ := record.SuiteByID(id)
			secret := make([]byte, s.Hash.Size())
			a := &Records{in: newDirection(s, secret), out: newDirection(s, secret)}
			b := &Records{in: newDirection(s, secret), out: newDirection(s, secret)}
			up, n, err := b.Open(make([]byte, 0, 100), a.Seal(nil, []byte("up")))
			if err != nil || string(up) != "up" || n != 2+Overhead {
				t.Fatalf("opened %q, %d, %v", up, n, err)
			}
			down, _, err := a.Open(make([]byte, 0, 100), b.Seal(nil, []byte("down")))
			if err != nil || string(down) != "down" {
				t.Fatalf("opened %q, %v", down, err)
			}
		})
	}
}

// carry moves different data both ways at once and ends each in turn.
func carry(t *testing.T, ours *Conn, theirs *tls.Conn, seed uint64) {
	t.Helper()
	rnd := mrand.New(mrand.NewPCG(seed, 7))
	d := detach(t, ours)
	up, down := make([]byte, 300_001), make([]byte, 70_003)
	rand.Read(up)
	rand.Read(down)
	errs := make(chan error, 3)
	go func() { errs <- d.write(down[:17]); errs <- d.write(down[17:]) }()
	go func() {
		_, err := theirs.Write(up)
		errs <- errors.Join(err, theirs.CloseWrite())
	}()
	gotUp := make(chan []byte, 1)
	go func() {
		all, err := d.readAll(rnd)
		if err != nil {
			t.Errorf("reading: %v", err)
		}
		gotUp <- all
	}()
	gotDown := make([]byte, len(down))
	if _, err := io.ReadFull(theirs, gotDown); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotDown, down) || !bytes.Equal(<-gotUp, up) {
		t.Fatal("what arrived is not what was sent")
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Raw.Write(d.Records.CloseNotify(nil)); err != nil {
		t.Fatal(err)
	}
	if n, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("after close_notify: %d, %v", n, err)
	}
}

func TestDataThatFollowsTheHandshakeAtOnceIsKept(t *testing.T) {
	server, client := configs(t)
	a, b := listenertest.TCPPair(t)
	go func() {
		c := tls.Client(a, client)
		c.Write([]byte("hello before the server looks"))
		c.CloseWrite()
	}()
	ours, err := own(server).Server(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := detach(t, ours).readAll(mrand.New(mrand.NewPCG(1, 1)))
	if err != nil || string(got) != "hello before the server looks" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestWithoutDetachAConnectionIsCryptoTLSs(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			server, client := configs(t)
			server.MaxVersion = version
			a, b := listenertest.TCPPair(t)
			theirs := tls.Client(a, client)
			shaken := make(chan error, 1)
			go func() { shaken <- theirs.Handshake() }()
			// Without own records with TLS 1.3, with them with 1.2.
			ours, err := (&Config{TLS: server, OwnRecords: version == tls.VersionTLS12}).Server(t.Context(), b)
			if err = errors.Join(err, <-shaken); err != nil {
				t.Fatal(err)
			}
			if _, ok := ours.Detach(); ok {
				t.Fatal("detached")
			}
			go func() { theirs.Write(bytes.Repeat([]byte("x"), 100_000)); theirs.Close() }()
			if n, err := io.Copy(io.Discard, ours); n != 100_000 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
		})
	}
}

func TestADetachedConnectionIsAsGoodAsClosed(t *testing.T) {
	server, client := configs(t)
	for _, weServe := range []bool{true, false} {
		ours, _ := shake(t, server, client, weServe)
		detach(t, ours)
		if _, err := ours.Write([]byte("x")); err == nil {
			t.Error("it can be written to")
		}
		_ = ours.Abort()
		_ = ours.Close()
	}
}

// Two ends of one key would use a sequence number twice.
func TestAConnectionThatWasUsedCannotBeDetached(t *testing.T) {
	for name, use := range map[string]func(c *Conn) error{
		"written to":   func(c *Conn) error { _, err := c.Write([]byte("x")); return err },
		"half-closed":  func(c *Conn) error { return c.CloseWrite() },
		"read from":    func(c *Conn) error { _, err := c.Read(make([]byte, 1)); return err },
		"taken before": func(c *Conn) error { c.Detach(); return nil },
	} {
		server, client := configs(t)
		ours, theirs := shake(t, server, client, true)
		if _, err := theirs.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := use(ours); err != nil {
			t.Fatal(err)
		}
		if _, ok := ours.Detach(); ok || ours.Detachable() {
			t.Errorf("%s: detached", name)
		}
	}
}

func TestWhatIsNoTLSIsToldSoAtOnce(t *testing.T) {
	server, _ := configs(t)
	for _, hello := range []string{"GET / HTTP/1.1\r\n\r\n", "\x15\x03\x01\x00\x02\x02\x28", "\x16\x03\x01\x00\x01\x01"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		a, b := listenertest.TCPPair(t)
		a.Write([]byte(hello))
		if hello[0] == record.Handshake {
			a.Close() // a fragment: more could come
		}
		if _, err := own(server).Server(ctx, b); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q: %v", hello, err)
		}
		cancel()
	}
}

// crypto/tls logs each secret once. Should it ever do otherwise, the connection
// stays with it.
func TestSecretsThatComeTwiceOrUnreadableAreNotUsed(t *testing.T) {
	client, server := "CLIENT_TRAFFIC_SECRET_0 00ff abcd\n", "SERVER_TRAFFIC_SECRET_0 00ff 1234\n"
	for name, c := range map[string]struct {
		lines []string
		want  bool
	}{
		"both":           {[]string{"EXPORTER_SECRET 00ff 99\n", client, server}, true},
		"one":            {[]string{client}, false},
		"one twice":      {[]string{client, server, client}, false},
		"no hexadecimal": {[]string{client, "SERVER_TRAFFIC_SECRET_0 00ff xy\n"}, false},
		"of no length":   {[]string{client, "SERVER_TRAFFIC_SECRET_0 00ff 12\n"}, false},
		"no secret":      {[]string{client, "SERVER_TRAFFIC_SECRET_0 00ff\n"}, false},
	} {
		var s secrets
		for _, line := range c.lines {
			if n, err := s.Write([]byte(line)); n != len(line) || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
		}
		if s.complete(2) != c.want {
			t.Errorf("%s: complete is %v", name, s.complete(2))
		}
	}
}

func TestAHandshakeEndsWithItsContext(t *testing.T) {
	server, _ := configs(t)
	for name, c := range map[string]struct {
		start func() (context.Context, context.CancelFunc)
		want  error
	}{
		"deadline": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 20*time.Millisecond)
		}, context.DeadlineExceeded},
		"cancel": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := c.start()
			defer cancel()
			_, b := listenertest.TCPPair(t)
			if _, err := own(server).Server(ctx, b); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}
