package admin

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// arriving is a listener to which connections come from addresses that a test
// gives.
type arriving struct {
	net.Listener
	from chan net.Conn
}

func (a arriving) Accept() (net.Conn, error) {
	c, ok := <-a.from
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (arriving) Close() error { return nil }

type addressed struct {
	net.Conn
	from *net.TCPAddr
}

func (a addressed) RemoteAddr() net.Addr { return a.from }

// strangers are connections that come to a sharedListener.
type strangers struct {
	t    *testing.T
	from chan net.Conn
	l    *sharedListener
}

func newStrangers(t *testing.T, max, maxOfAddress int) *strangers {
	from := make(chan net.Conn, 10)
	return &strangers{t, from, newSharedListener(arriving{from: from}, max, maxOfAddress)}
}

// come has a connection come from a host, whose own end is returned.
func (s *strangers) come(host string, port int) (far net.Conn) {
	near, far := net.Pipe()
	s.from <- addressed{near, &net.TCPAddr{IP: net.ParseIP(host), Port: port}}
	return far
}

func (s *strangers) accept(want string) net.Conn {
	s.t.Helper()
	c, err := s.l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	if got := c.RemoteAddr().String(); got != want {
		s.t.Fatalf("accepted %s, want %s", got, want)
	}
	return c
}

func isClosed(far net.Conn) bool {
	_ = far.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err := far.Read(make([]byte, 1))
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestOneAddressDoesNotKeepTheOthersOut(t *testing.T) {
	s := newStrangers(t, 10, 2)
	s.come("192.0.2.1", 1)
	s.come("192.0.2.1", 2)
	third := s.come("192.0.2.1", 3)
	s.come("2001:db8::1", 4)
	first := s.accept("192.0.2.1:1")
	second := s.accept("192.0.2.1:2")
	other := s.accept("[2001:db8::1]:4")
	if !isClosed(third) {
		t.Error("a connection beyond the limit is open")
	}
	_ = first.Close()
	_ = first.Close() // counts once
	s.come("192.0.2.1", 5)
	s.come("192.0.2.1", 6)
	fifth := s.accept("192.0.2.1:5")
	close(s.from)
	if c, err := s.l.Accept(); err == nil {
		t.Errorf("accepted %s", c.RemoteAddr())
	}
	for _, c := range []net.Conn{second, other, fifth} {
		_ = c.Close()
	}
	if len(s.l.open) != 0 {
		t.Errorf("%v are remembered", s.l.open)
	}
}

func TestManyAddressesDoNotKeepANewOneOut(t *testing.T) {
	s := newStrangers(t, 4, 2)
	s.come("192.0.2.1", 1)
	few := s.accept("192.0.2.1:1")
	oldest := s.come("192.0.2.2", 1)
	s.accept("192.0.2.2:1")
	s.come("192.0.2.2", 2)
	s.accept("192.0.2.2:2")
	s.come("192.0.2.3", 1)
	s.accept("192.0.2.3:1")
	again := s.come("192.0.2.2", 3) // it has its share
	s.come("192.0.2.4", 1)
	s.accept("192.0.2.4:1")
	if !isClosed(oldest) {
		t.Error("the oldest of the address that has most is open")
	}
	if !isClosed(again) {
		t.Error("an address has more than others where there is no place")
	}
	s.come("192.0.2.5", 1)
	s.accept("192.0.2.5:1") // for the oldest, since all have as many
	if len(s.l.open) != 4 || s.l.open[0] == few {
		t.Errorf("%d are open", len(s.l.open))
	}
}

func TestAddressesOfOneNetworkOfIPv6CountAsOne(t *testing.T) {
	s := newStrangers(t, 10, 2)
	s.come("2001:db8::1", 1)
	s.accept("[2001:db8::1]:1")
	s.come("2001:db8::2", 1)
	s.accept("[2001:db8::2]:1")
	third := s.come("2001:db8::3", 1)
	s.come("2001:db8:0:1::1", 1)
	s.accept("[2001:db8:0:1::1]:1")
	if !isClosed(third) {
		t.Error("a network has as many connections as it has addresses")
	}
}

func TestThisMachineHasConnectionsOfItsOwn(t *testing.T) {
	s := newStrangers(t, 2, 2)
	for _, host := range []string{"192.0.2.1", "192.0.2.2", "127.0.0.1"} {
		s.come(host, 1)
		s.accept(net.JoinHostPort(host, "1"))
	}
	s.come("192.0.2.3", 1)
	s.accept("192.0.2.3:1")
	s.come("::1", 1)
	s.accept("[::1]:1")
	s.come("192.0.2.4", 1)
	s.accept("192.0.2.4:1")
	own := 0
	for _, c := range s.l.open {
		if !c.owner.IsValid() {
			own++
		}
	}
	if own != 2 || len(s.l.open) != 4 {
		t.Errorf("%d of this machine among %d", own, len(s.l.open))
	}
}

func TestAServerThatOtherMachinesReachIsSharedByThem(t *testing.T) {
	for _, c := range []struct {
		address string
		shared  bool
	}{{"0.0.0.0:0", true}, {"127.0.0.1:0", false}} {
		s := serverOf(t, c.address, Profiles())
		listenertest.Run(t, s.Run)
		listenertest.Eventually(t, "it listens", func() bool { return s.Addr() != nil })
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Addr().(*net.TCPAddr).Port))
		var last net.Conn
		for range maxConnsOfAddress + 1 {
			last = listenertest.Dial(t, "tcp", address)
		}
		_ = last.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(last, "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n")
		n, err := last.Read(make([]byte, 1))
		if answered := n == 1; answered == c.shared {
			t.Errorf("%s: the last connection is answered: %t, %v", c.address, answered, err)
		}
	}
}

func TestAPageEndsWithItsConnectionEvenIfTheRequestHasABody(t *testing.T) {
	s := newStrangers(t, 1, 1)
	reached, ended := make(chan struct{}, 2), make(chan struct{}, 2)
	srv := &http.Server{ConnContext: withConn, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.l) }()
	first := s.come("192.0.2.1", 1)
	_, _ = io.WriteString(first, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	<-reached
	second := s.come("192.0.2.2", 2) // in the place of the first
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the page is made on")
	}
	_ = first.Close()
	_ = second.Close()
	close(s.from)
	<-served
	_ = srv.Close()
}
