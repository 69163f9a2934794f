package listener_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// hosted serves clients, until they end, who say in a line whether they are idle.
func hosted(_ context.Context, raw net.Conn) (listener.Request, error) {
	line, err := bufio.NewReaderSize(raw, 16).ReadString('\n')
	var since time.Time
	if strings.HasPrefix(line, "idle") {
		since = time.Now()
	}
	return listener.Request{
		Serve: func(_ context.Context, c net.Conn) {
			_, _ = io.WriteString(c, "served\n")
			_, _ = io.Copy(io.Discard, c)
		},
		IdleSince: func() time.Time { return since },
	}, err
}

// from connects from an address of loopback, and reports whether it is served.
func (r *running) from(t *testing.T, address, line string) (*net.TCPConn, bool) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	raw, err := d.DialContext(t.Context(), "tcp", r.Addr().String())
	if err != nil {
		return nil, false // a reset can come as early as that
	}
	t.Cleanup(func() { _ = raw.Close() })
	_, _ = io.WriteString(raw, line+"\n")
	_ = raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, len("served\n"))
	_, err = io.ReadFull(raw, b)
	return raw.(*net.TCPConn), err == nil
}

func TestTheAddressWithMostConnectionsGivesWay(t *testing.T) {
	l := start(t, listener.Options{Request: hosted, MaxConnections: 4, FairConnections: true})
	first, _ := l.from(t, "127.0.0.2", "busy")
	idle, _ := l.from(t, "127.0.0.2", "idle")
	for range 2 {
		l.from(t, "127.0.0.2", "busy")
	}
	for i, c := range []struct {
		address string
		served  bool
		ends    *net.TCPConn // nil for none, or any
	}{
		{"127.0.0.2", false, nil}, // has most itself
		{"127.0.0.3", true, idle},
		{"127.0.0.3", true, first},
		{"127.0.0.3", false, nil}, // two each
		{"127.0.0.2", false, nil},
		{"127.0.0.4", true, nil},
	} {
		if _, served := l.from(t, c.address, "busy"); served != c.served {
			t.Errorf("%d: %s is served: %t", i, c.address, served)
		}
		if c.ends != nil {
			expectEnd(t, c.ends, 5*time.Second)
		}
	}
	limited := 0
	for _, s := range l.wait(t, 6) {
		if s.Reason != listener.ReasonLimit {
			t.Errorf("reason %s: %v", s.Reason, s.Err)
		}
		limited++
	}
	if limited != 6 || l.OverLimit() != 6 {
		t.Errorf("%d over the limit, %d counted", limited, l.OverLimit())
	}
	listenertest.Eventually(t, "there are as many as may be", func() bool { return l.Live() == 4 })
}

func TestAnAddressThatConnectsWithoutEndKeepsNobodyElseOut(t *testing.T) {
	const most, honest = 64, 16
	l := start(t, listener.Options{Request: hosted, MaxConnections: most, FairConnections: true})
	ctx, cancel := context.WithCancel(t.Context())
	flood := make(chan struct{})
	go func() {
		defer close(flood)
		for ctx.Err() == nil {
			l.from(t, "127.0.0.9", "busy")
		}
	}()
	listenertest.Eventually(t, "one address has all there is", func() bool { return l.OverLimit() > 0 })
	for range honest {
		if _, served := l.from(t, "127.0.0.8", "busy"); !served {
			t.Error("an honest client is refused")
		}
	}
	cancel()
	<-flood
	listenertest.Eventually(t, "there are as many as may be", func() bool { return l.Live() == most })
}

func TestOneConnectionEachFromManyAddressesKeepsNobodyElseOut(t *testing.T) {
	l := start(t, listener.Options{Request: hosted, MaxConnections: 4, FairConnections: true})
	var rest []*net.TCPConn
	for _, address := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"} {
		c, served := l.from(t, address, "idle")
		if !served {
			t.Fatal("not served")
		}
		rest = append(rest, c)
	}
	for i, c := range rest {
		if _, served := l.from(t, fmt.Sprintf("127.0.1.%d", i+2), "busy"); !served {
			t.Errorf("newcomer %d is refused while others are idle", i)
		}
		expectEnd(t, c, 5*time.Second)
	}
	if _, served := l.from(t, "127.0.0.2", "busy"); served {
		t.Error("in the place of one that is busy")
	}
}
