package listener_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// framing is how a client's first flight, one record with a ClientHello, is put
// on the wire. crypto/tls understands all of it.
type framing struct {
	alerts   int  // warnings in front
	cut      int  // bytes of the hello in the first of two records; zero is one record
	segments bool // the two records are sent apart
}

func (f framing) String() string {
	return fmt.Sprintf("%d alerts, cut at %d, apart %v", f.alerts, f.cut, f.segments)
}

// of returns what is written, one element a write.
func (f framing) of(hello []byte) [][]byte {
	var first []byte
	for range f.alerts {
		first = append(first, 21, 3, 1, 0, 2, 1, 90) // warning, user_canceled
	}
	body := hello[5:]
	if f.cut == 0 {
		return [][]byte{append(first, hello...)}
	}
	fragment := func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{22, 3, 1}, uint16(len(b))), b...)
	}
	first = append(first, fragment(body[:f.cut])...)
	if f.segments {
		return [][]byte{first, fragment(body[f.cut:])}
	}
	return [][]byte{append(first, fragment(body[f.cut:])...)}
}

// onPath is the wire between a client and the listener as somebody on the path
// has it: the first flight is framed anew, the second is held back.
type onPath struct {
	net.Conn
	framing framing
	flights int
	held    chan struct{} // closed when the second flight arrived here
	release chan struct{} // closed to let it pass
}

func (w *onPath) Write(p []byte) (int, error) {
	w.flights++
	switch w.flights {
	case 1:
		for _, segment := range w.framing.of(p) {
			if _, err := w.Conn.Write(segment); err != nil {
				return 0, err
			}
		}
		return len(p), nil
	case 2:
		close(w.held)
		<-w.release
	}
	return w.Conn.Write(p)
}

// sharedRandom gives the same client random to every configuration that reads
// from it first.
type sharedRandom struct {
	mu    sync.Mutex
	first []byte
}

func (s *sharedRandom) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.first) > 0 && len(p) == len(s.first) {
		n := copy(p, s.first)
		s.first = nil
		return n, nil
	}
	return rand.Read(p)
}

// logged keeps what is written to it: the secrets of a connection, for one.
type logged struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(p)
}

func (l *logged) secret(t testing.TB, label string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.lines.String()) {
		if f := strings.Fields(line); f[0] == label {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
	}
	t.Fatalf("no %s", label)
	return nil
}

// party is one client of a listener, and the wire it is on.
type party struct {
	*tls.Conn
	wire    *onPath
	secrets *logged
	done    chan error
}

// join starts the handshake of a client whose random is random.
func (r *running) join(t testing.TB, cfg *tls.Config, random []byte, f framing) *party {
	p := &party{
		wire:    &onPath{Conn: r.dial(t), framing: f, held: make(chan struct{}), release: make(chan struct{})},
		secrets: &logged{}, done: make(chan error, 1),
	}
	cfg.Rand = &sharedRandom{first: random}
	cfg.KeyLogWriter = p.secrets
	p.Conn = tls.Client(p.wire, cfg)
	go func() { p.done <- p.Handshake() }()
	return p
}

// pass lets the second flight go and waits for the end of the handshake.
func (p *party) pass(t testing.TB) {
	t.Helper()
	close(p.wire.release)
	if err := <-p.done; err != nil {
		t.Fatal(err)
	}
}

// inject writes a record with application data that the party's keys protect to
// another client's socket, as somebody on the path can.
func (p *party) inject(t testing.TB, on net.Conn, data string) {
	t.Helper()
	secret := p.secrets.secret(t, "CLIENT_TRAFFIC_SECRET_0")
	expand := func(label string, n int) []byte {
		info := append([]byte{0, byte(n), byte(6 + len(label))}, "tls13 "+label+"\x00"...)
		out, err := hkdf.Expand(sha256.New, secret, string(info), n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	block, _ := aes.NewCipher(expand("key", 16))
	aead, _ := cipher.NewGCM(block)
	inner := append([]byte(data), 23)
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(inner)+16))
	if _, err := on.Write(aead.Seal(header, expand("iv", 12), inner, header)); err != nil {
		t.Fatal(err)
	}
}

// client is a configuration without sessions; without a certificate if leaf has
// none.
func (w world) client(leaf listenertest.Leaf) *tls.Config {
	cfg := w.ca.ClientTLS(leaf)
	cfg.ClientSessionCache = nil
	cfg.CurvePreferences = []tls.CurveID{tls.CurveP256} // a short hello
	return cfg
}

// framings are all the shapes of a first flight with a hello of n bytes, or some
// of them in a short run.
func framings(n int) []framing {
	all := []framing{{}, {alerts: 1}, {alerts: 2}}
	step := 1
	if testing.Short() {
		step = 23
	}
	for cut := 1; cut < n; cut += step {
		all = append(all, framing{cut: cut}, framing{cut: cut, segments: true}, framing{cut: cut, alerts: 1})
	}
	return all
}

// helloLen is how long the handshake message of cfg's first flight is.
func helloLen(t testing.TB, cfg *tls.Config) int {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() { _ = tls.Client(near, cfg).Handshake() }()
	var header [5]byte
	if _, err := io.ReadFull(far, header[:]); err != nil {
		t.Fatal(err)
	}
	return int(binary.BigEndian.Uint16(header[3:]))
}

// Somebody on the path of a client holds its second flight back, runs a
// handshake of his own under its client random, in any framing and without a
// certificate, and then lets the client's flight pass.
func TestAStrangersSecretsAreNeverUsedForAnothersConnection(t *testing.T) {
	w := newWorld(t)
	var got logged // what reaches the application
	app := listenertest.NewServer(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, io.TeeReader(c, &got))
		_ = c.CloseWrite()
	})
	l := start(t, w.public(app.Addr()))
	for i, f := range framings(helloLen(t, w.client(listenertest.Leaf{}))) {
		random := make([]byte, 32)
		_, _ = rand.Read(random)
		victim := l.join(t, w.client(w.web), random, framing{})
		<-victim.wire.held
		stranger := l.join(t, w.client(listenertest.Leaf{}), random, f)
		<-stranger.wire.held
		victim.pass(t)
		if i%2 == 0 {
			expectEcho(t, f, victim.Conn, "the victim's request")
		} else {
			stranger.inject(t, victim.wire.Conn, "the stranger's request")
			expectNothing(t, f, victim.wire.Conn)
		}
		close(stranger.wire.release)
		<-stranger.done
		_ = stranger.wire.Close()
		_ = victim.wire.Close()
	}
	l.stop()
	app.Close()
	if strings.Contains(got.lines.String(), "stranger") {
		t.Error("a stranger's bytes reached the application")
	}
}

// The other way round: it is the victim's hello that is framed anew, while a
// client with a certificate of its own waits in the middle of a handshake under
// the same random.
func TestAClientNeverGetsTheSecretsOfAnothersHandshake(t *testing.T) {
	w := newWorld(t)
	attackerLeaf := w.ca.Leaf(t, "attacker")
	l := start(t, w.public(listenertest.NewEcho(t).Addr()))
	for _, f := range framings(helloLen(t, w.client(w.web))) {
		random := make([]byte, 32)
		_, _ = rand.Read(random)
		attacker := l.join(t, w.client(attackerLeaf), random, framing{})
		<-attacker.wire.held
		victim := l.join(t, w.client(w.web), random, f)
		<-victim.wire.held
		attacker.pass(t)
		victim.pass(t)
		expectEcho(t, f, victim.Conn, "the victim's request")
		expectEcho(t, f, attacker.Conn, "the attacker's")
	}
	for _, s := range l.wait(t, 2) {
		want := len("the victim's request")
		if s.Peer == attackerLeaf.URI {
			want = len("the attacker's")
		}
		if s.ToUpstream != int64(want) {
			t.Errorf("%s sent %d bytes, want %d", s.Peer, s.ToUpstream, want)
		}
	}
}

// expectEcho expects a request to come back from the echo, and the end after it.
func expectEcho(t testing.TB, f framing, c *tls.Conn, request string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatalf("%v: %v", f, err)
	}
	_ = c.CloseWrite()
	answer, err := io.ReadAll(c)
	if string(answer) != request || err != nil {
		t.Fatalf("%v: %q, %v", f, answer, err)
	}
	_ = c.Close()
}

// expectNothing expects a connection to end without application data: the
// session ticket and an alert may come.
func expectNothing(t testing.TB, f framing, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%v: the connection goes on after a stranger's record", f)
	}
}
