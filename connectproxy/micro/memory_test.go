package micro

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"connect-proxy/config"
	"connect-proxy/listener/listenertest"
)

// all is what is held by all calls.
func (m *memory) all() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held
}

func TestAStrangerHoldsBoundedMemoryAndShortCallsAreServedNevertheless(t *testing.T) {
	greeter := newService(t, "greeter")
	m := &mesh{services: map[string]string{"greeter": greeter.Addr()}}
	var s *Server
	p := startPublic(t, m, config.Edge{Allow: []string{"greeter"}, Namespace: "-"}, func(of *Server) { s = of })
	const (
		own   = maxHeld / 3
		whole = maxRequest - 1
		calls = own / maxRequest
		rest  = own - calls*(whole-freeOfEach) - 64<<10
	)
	var slow []*caller
	for i := range calls + 1 {
		size := whole
		if i == calls {
			size = rest + freeOfEach
		}
		c := p.caller(t)
		slow = append(slow, c)
		path := []string{"/greeter/hello", "/nobody/hello"}[i%2]
		c.send(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: %d\r\n\r\n%s", path, maxRequest, strings.Repeat(" ", size)))
	}
	listenertest.Eventually(t, "what one address may have is held", func() bool { return s.held.all() == calls*(whole-freeOfEach)+rest })
	// More than is left, and little enough to be taken in before the answer.
	long := `"` + strings.Repeat("a", 200<<10) + `"`
	for _, path := range []string{"/greeter/hello", "/rpc"} {
		if status, answer := p.ask(t, "POST", path, long); status != http.StatusServiceUnavailable || !strings.Contains(answer, "busy") {
			t.Errorf("a long call to %s: %d %.200s", path, status, answer)
		}
	}
	if status, answer := p.ask(t, "POST", "/greeter/hello", "{}"); status != http.StatusOK {
		t.Errorf("a short call: %d %s", status, answer)
	}
	other := share{of: &s.held, from: netip.MustParseAddr("192.0.2.1")}
	if !other.take(maxRequest) {
		t.Error("another address has nothing")
	}
	other.free()
	for _, c := range slow {
		_ = c.Close()
	}
	listenertest.Eventually(t, "all is given back", func() bool { return s.held.all() == 0 })
	if status, answer := p.ask(t, "POST", "/greeter/hello", long); status != http.StatusOK {
		t.Errorf("a long call afterwards: %d %.200s", status, answer)
	}
}

func TestAddressesShareWhatStrangersMayHold(t *testing.T) {
	m := &memory{}
	var shares []*share
	from := netip.MustParseAddr("192.0.2.0")
	for i := range 8 {
		from = from.Next()
		taken := 0
		for {
			s := &share{of: m, from: from}
			shares = append(shares, s)
			if !s.take(64 << 10) {
				break
			}
			taken++
		}
		if i < 5 && taken*64<<10 < maxRequest/2 {
			t.Errorf("address %d has %d KiB", i, taken*64)
		}
		if taken == 0 {
			t.Errorf("address %d has nothing", i)
		}
	}
	if held := m.all(); held > maxHeld {
		t.Errorf("%d bytes are held", held)
	}
	for _, s := range shares {
		s.free()
	}
	if len(m.byAddr) != 0 || m.all() != 0 {
		t.Errorf("%v are kept", m.byAddr)
	}
}
