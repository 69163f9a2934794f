package connectproxy_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// sockets watches the connections that an agent has, as its kernel sees them,
// those of this test left out.
type sockets struct {
	port string // the agent's, in the kernel's hexadecimal
	most atomic.Int64

	mu sync.Mutex // guards closing
	// closing is the far ports of connections that the other end had closed when
	// they were last counted.
	closing map[string]bool
}

func watchSockets(t *testing.T, a *agenttest.Agent) *sockets {
	t.Helper()
	_, port, _ := net.SplitHostPort(a.HTTPAddr)
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	s := &sockets{port: fmt.Sprintf("%04X", n)}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if n := int64(s.count()); n > s.most.Load() {
					s.most.Store(n)
				}
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return s
}

// within fails the test if there have been more than limit at a time since the
// last call.
func (s *sockets) within(t *testing.T, state string, limit int) {
	t.Helper()
	now := int64(s.count())
	most := max(s.most.Swap(0), now)
	t.Logf("%s: %d connections at the agent, %d now", state, most, now)
	if most > int64(limit) || most == 0 {
		t.Errorf("%s: %d connections at the agent, want 1 to %d", state, most, limit)
	}
}

// settles fails the test if the agent had more connections than it takes by
// default, or does not come to limit. On a machine with more to do than it can,
// an agent notices late that a proxy has closed one and opened another.
func (s *sockets) settles(t *testing.T, state string, limit int) {
	t.Helper()
	const agentsLimit = 200
	if most := s.most.Swap(0); most >= agentsLimit {
		t.Errorf("%s: %d connections at the agent", state, most)
	}
	agenttest.Eventually(t, soon, func() error {
		if n := s.count(); n == 0 || n > limit {
			return fmt.Errorf("%s: %d connections at the agent, want 1 to %d", state, n, limit)
		}
		return nil
	})
	t.Logf("%s: %d connections at the agent", state, s.count())
}

// count counts the agent's ends of connections, and those that the other end
// has closed and the agent goes on holding: longer than from one count to the
// next.
func (s *sockets) count() int {
	const established, closeWait = "01", "08"
	s.mu.Lock()
	defer s.mu.Unlock()
	own := ownSockets()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	maps.Copy(own, ownSockets())
	var theirs []string // the far ports of the agent's ends
	closing := map[string]bool{}
	ours := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		_, local, _ := strings.Cut(f[1], ":")
		_, remote, _ := strings.Cut(f[2], ":")
		switch {
		case local == s.port && f[3] == closeWait:
			closing[remote] = true
			if s.closing[remote] {
				theirs = append(theirs, remote)
			}
		case local == s.port && f[3] == established:
			theirs = append(theirs, remote)
		case remote == s.port && own["socket:["+f[9]+"]"]:
			ours[local] = true
		}
	}
	s.closing = closing
	n := 0
	for _, port := range theirs {
		if !ours[port] {
			n++
		}
	}
	return n
}

func ownSockets() map[string]bool {
	found := map[string]bool{}
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:") {
			found[to] = true
		}
	}
	return found
}

// resident is a process's memory in megabytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb / 1000
}
