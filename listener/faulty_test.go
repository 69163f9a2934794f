//go:build unix

package listener_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// faultyListener fails to accept while broken is set.
type faultyListener struct {
	*net.TCPListener
	broken atomic.Bool
	failed atomic.Int64
}

func (f *faultyListener) Accept() (net.Conn, error) {
	if f.broken.Load() {
		f.failed.Add(1)
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: f.Addr(), Err: unix.ENOBUFS}
	}
	return f.TCPListener.Accept()
}

func TestTroubleIsOverWithoutWaitingForAClient(t *testing.T) {
	ln, err := listenTCP(t)
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyListener{TCPListener: ln}
	f.broken.Store(true)
	l := startOn(t, f, listener.Options{Dial: dialTo("127.0.0.1:1")})
	listenertest.Eventually(t, "it failed twice", func() bool { return f.failed.Load() >= 2 })
	if l.Problem() == "" {
		t.Error("no problem is said")
	}
	f.broken.Store(false)
	listenertest.Eventually(t, "the problem is over", func() bool { return l.Problem() == "" })
}

func TestStoppingInterruptsTheBackOff(t *testing.T) {
	ln, err := listenTCP(t)
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyListener{TCPListener: ln}
	f.broken.Store(true)
	l := startOn(t, f, listener.Options{Dial: dialTo("127.0.0.1:1")})
	listenertest.Eventually(t, "the back-off has grown", func() bool { return f.failed.Load() >= 7 })
	began := time.Now()
	l.StopAccepting()
	if took := time.Since(began); took > 300*time.Millisecond {
		t.Errorf("stopped after %v", took)
	}
}
