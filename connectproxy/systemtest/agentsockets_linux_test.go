package systemtest_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// sockets watches the connections that an agent has, as its kernel sees them,
// those of this test left out.
type sockets struct {
	port string // the agent's, in the kernel's hexadecimal

	mu   sync.Mutex // guards the following
	most int        // since it was last asked for
	// closing is the far ports of connections that the other end has closed, and
	// since when they have been seen so.
	closing map[string]time.Time
}

// lingers is how long an agent may take to notice that a connection was closed,
// on a machine with more to do than it can. One that still has a question to
// answer holds it for many times as long.
const lingers = time.Second

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
		last := 0
		for {
			select {
			case <-tick.C:
				// A connection that this test made and closed while it counted
				// looks like somebody else's, once.
				n := s.count()
				s.raise(min(n, last))
				last = n
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
	return s
}

func (s *sockets) raise(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = max(s.most, n)
}

// since returns the most that there were since the last call.
func (s *sockets) since() (most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	most, s.most = s.most, 0
	return most
}

// within fails the test if there have been more than limit at a time since the
// last call, or there is none.
func (s *sockets) within(t *testing.T, state string, limit int) {
	t.Helper()
	most := 0
	pause(20 * time.Millisecond) // for two counts, which may take longer than that
	agenttest.Eventually(t, soon, func() error {
		if most = max(most, s.since()); most == 0 {
			return fmt.Errorf("%s: no connection at the agent", state)
		}
		return nil
	})
	t.Logf("%s: %d connections at the agent, %d now", state, most, s.count())
	if most > limit {
		t.Errorf("%s: %d connections at the agent, want 1 to %d", state, most, limit)
	}
}

// settles fails the test if the agent had more connections than it takes by
// default, or does not come to limit. On a machine with more to do than it can,
// an agent notices late that a proxy has closed one and opened another.
func (s *sockets) settles(t *testing.T, state string, limit int) {
	t.Helper()
	const agentsLimit = 200
	if most := s.since(); most >= agentsLimit {
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
// has closed and the agent goes on holding.
func (s *sockets) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := ownSockets()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	maps.Copy(own, ownSockets())
	theirs, far := s.ends(string(text))
	closing := map[string]time.Time{}
	n := 0
	for _, port := range theirs {
		socket, open := far[port]
		switch {
		case own[socket]:
		case open:
			n++
		default:
			since, seen := s.closing[port]
			if !seen {
				since = time.Now()
			}
			closing[port] = since
			if time.Since(since) > lingers {
				n++
			}
		}
	}
	s.closing = closing
	return n
}

// ends reads the kernel's table: the far ports of the agent's ends, and by port
// the other ends that somebody still has open.
func (s *sockets) ends(table string) (theirs []string, far map[string]string) {
	const established, synSent, closeWait = "01", "02", "08"
	far = map[string]string{}
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		_, local, _ := strings.Cut(f[1], ":")
		_, remote, _ := strings.Cut(f[2], ":")
		state, inode := f[3], f[9]
		switch {
		case local == s.port && (state == established || state == closeWait):
			theirs = append(theirs, remote)
		case remote == s.port && inode != "0" && (state == established || state == synSent):
			far[local] = "socket:[" + inode + "]"
		}
	}
	return theirs, far
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
	return kb * 1024 / 1e6
}
