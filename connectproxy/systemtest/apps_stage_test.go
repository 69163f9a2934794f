package systemtest_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// exchange bounds one exchange of bytes, on a machine that does much else.
const exchange = 90 * time.Second

// part is what the stage does on one connection.
type part func(c *net.TCPConn) error

// stage is an application that plays, on each connection, the part that the
// client has named in its first line. A first line of HTTP's is for the web
// server behind it.
type stage struct {
	*listenertest.Server
	web *http.Server

	mu    sync.Mutex
	last  int
	parts map[string]chan<- error
	plays map[string]part

	visitors chan net.Conn
	gone     chan struct{}
}

func newStage(t *testing.T) *stage {
	s := &stage{
		parts: map[string]chan<- error{}, plays: map[string]part{},
		visitors: make(chan net.Conn), gone: make(chan struct{}),
	}
	s.web = &http.Server{Handler: http.HandlerFunc(digest), Protocols: new(http.Protocols)}
	s.web.Protocols.SetHTTP1(true)
	s.web.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.web.Serve(s)
	}()
	t.Cleanup(func() {
		close(s.gone)
		s.web.Close()
		<-served
	})
	s.Server = listenertest.NewServer(t, s.serve)
	return s
}

// digest answers with the method, the path and the hash of the body.
func digest(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %d %x", r.Method, r.URL.Path, n, h.Sum(nil))
}

func (s *stage) serve(c *net.TCPConn) {
	var line []byte
	for one := make([]byte, 1); one[0] != '\n'; line = append(line, one[0]) {
		if _, err := c.Read(one); err != nil {
			return
		}
	}
	if strings.Contains(string(line), " HTTP/") {
		v := &visitor{TCPConn: c, before: line, done: make(chan struct{})}
		select {
		case s.visitors <- v:
			<-v.done
		case <-s.gone:
		}
		return
	}
	s.mu.Lock()
	play, over := s.plays[string(line)], s.parts[string(line)]
	delete(s.plays, string(line))
	delete(s.parts, string(line))
	s.mu.Unlock()
	if play != nil {
		_ = c.SetDeadline(time.Now().Add(exchange))
		over <- play(c)
	}
}

// visitor is a connection whose first line has been read.
type visitor struct {
	*net.TCPConn
	before []byte
	once   sync.Once
	done   chan struct{}
}

func (v *visitor) Read(p []byte) (int, error) {
	if len(v.before) > 0 {
		n := copy(p, v.before)
		v.before = v.before[n:]
		return n, nil
	}
	return v.TCPConn.Read(p)
}

func (v *visitor) Close() error {
	v.once.Do(func() { close(v.done) })
	return v.TCPConn.Close()
}

// Accept, Close and Addr make the stage the listener of its web server.
func (s *stage) Accept() (net.Conn, error) {
	select {
	case c := <-s.visitors:
		return c, nil
	case <-s.gone:
		return nil, net.ErrClosed
	}
}

func (s *stage) Close() error   { return nil }
func (s *stage) Addr() net.Addr { return &net.TCPAddr{} }

// expect makes the first line that has p played, and tells how that ended.
func (s *stage) expect(p part) (line string, over <-chan error) {
	ended := make(chan error, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	line = fmt.Sprintf("part %d\n", s.last)
	s.plays[line], s.parts[line] = p, ended
	return line, ended
}

// scene connects a client to the stage, through the mesh, and has p played
// there.
func (m *fabric) scene(t *testing.T, p part) (client *net.TCPConn, over <-chan error) {
	t.Helper()
	line, over := m.stage.expect(p)
	c := dial(t, m.address["stage"]).Conn.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(exchange))
	if _, err := io.WriteString(c, line); err != nil {
		t.Fatal(err)
	}
	return c, over
}

// ends fails the test unless the part ended well, or with want.
func ends(t *testing.T, over <-chan error, want error) {
	t.Helper()
	timer := time.NewTimer(exchange)
	defer timer.Stop()
	select {
	case err := <-over:
		if !errors.Is(err, want) {
			t.Errorf("on the application's side: %v, want %v", err, want)
		}
	case <-timer.C:
		t.Errorf("the application waits after %s", exchange)
	}
}

// hashed is some bytes, by their number and hash.
type hashed struct {
	n   int64
	sum string
}

// stream is random bytes without end, the same for the same seed.
func stream(seed int) io.Reader {
	key := sha256.Sum256(fmt.Append(nil, "seed ", seed))
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		panic(err) // of a key of the right length, never
	}
	return cipher.StreamReader{S: cipher.NewCTR(block, key[16:]), R: zeros{}}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// seeds makes each stream another.
var seeds atomic.Int64

// pour writes n random bytes and says which.
func pour(w io.Writer, n int64) (hashed, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(h, w)}, io.LimitReader(stream(int(seeds.Add(1))), n), make([]byte, 256<<10))
	return hashed{n, hex.EncodeToString(h.Sum(nil))}, err
}

// drink reads to the end and says what came.
func drink(r io.Reader) (hashed, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return hashed{n, hex.EncodeToString(h.Sum(nil))}, err
}

// same fails the test unless what came is what was sent.
func same(t *testing.T, what string, got, want hashed) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d bytes came with the hash %s, sent were %d with %s", what, got.n, got.sum, want.n, want.sum)
	}
}

// slow reports whether the programs are built with the race detector, under which
// everything takes several times as long.
func slow() bool { return agenttest.Race() }

// pause waits, as a slow application does.
func pause(d time.Duration) { <-time.After(d) }
