//go:build unix

package listener_test

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
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
	var told atomic.Int64
	l := startOn(t, f, listener.Options{Dial: dialTo("127.0.0.1:1"), AcceptFailed: func(err error) {
		if errors.Is(err, unix.ENOBUFS) {
			told.Add(1)
		}
	}})
	listenertest.Eventually(t, "it failed twice", func() bool { return told.Load() >= 2 })
	if l.Problem() == "" {
		t.Error("no problem is said")
	}
	f.broken.Store(false)
	listenertest.Eventually(t, "the problem is over", func() bool { return l.Problem() == "" })
}

func TestTroubleThatComesAndGoesIsSaidOnce(t *testing.T) {
	ln, err := listenTCP(t)
	if err != nil {
		t.Fatal(err)
	}
	f := &faultyListener{TCPListener: ln}
	var log bytes.Buffer
	l := startOn(t, f, listener.Options{
		Dial:   dialTo("127.0.0.1:1"),
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log}),
	})
	for range 5 {
		f.broken.Store(true)
		listenertest.Eventually(t, "there is a problem", func() bool {
			if c, err := net.Dial("tcp", ln.Addr().String()); err == nil { // for an Accept that waits
				_ = c.Close()
			}
			return l.Problem() != ""
		})
		f.broken.Store(false)
		listenertest.Eventually(t, "the problem is over", func() bool { return l.Problem() == "" })
	}
	l.stop() // nobody writes to the log after this
	for _, line := range []string{"cannot accept connections", "accepting connections again"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q was said %d times", line, n)
		}
	}
}

func TestStoppingInterruptsTheBackOff(t *testing.T) {
	const tries = 5 // a busy machine may be late once
	var took time.Duration
	for range tries {
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
		if took = time.Since(began); took <= 300*time.Millisecond {
			return
		}
	}
	t.Errorf("stopped after %v", took)
}
