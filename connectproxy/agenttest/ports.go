package agenttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

const (
	// Ports come from below the range that Linux (32768) and others (49152)
	// take outgoing connections' ports from: no port handed out can be lost to
	// a connection between the choice and the bind.
	lowestPort, highestPort = 10240, 32000
	blockSize               = 80
)

// ports hands out ports from blocks. The first port of a block stays bound for
// as long as the process lives, so that test processes that run at once, each
// with blocks of its own, never share one.
var ports struct {
	sync.Mutex
	held       []net.Listener
	next, last int
}

// FreePort returns a port of 127.0.0.1 that nothing listens on and that no
// other call, in this or another test process, returns.
func FreePort(t testing.TB) int {
	t.Helper()
	return FreePorts(t, 1)
}

// FreePorts returns the first of n ports in a row, each as from FreePort. n is
// at most 40.
func FreePorts(t testing.TB, n int) int {
	t.Helper()
	if n < 1 || n > blockSize/2 {
		t.Fatalf("%d ports in a row were asked for: the most is %d", n, blockSize/2)
	}
	ports.Lock()
	defer ports.Unlock()
	for {
		if ports.next+n > ports.last {
			if err := takeBlock(); err != nil {
				t.Fatal(err)
			}
		}
		first := ports.next
		ports.next += n
		if allFree(first, n) {
			return first
		}
	}
}

func takeBlock() error {
	const blocks = (highestPort - lowestPort) / blockSize
	for range 10 * blocks {
		first := lowestPort + blockSize*rand.IntN(blocks)
		ln, err := net.Listen("tcp", loopback(first))
		if err != nil {
			continue
		}
		ports.held = append(ports.held, ln)
		ports.next, ports.last = first+1, first+blockSize
		return nil
	}
	return fmt.Errorf("no block of free ports between %d and %d", lowestPort, highestPort)
}

// allFree binds each port for a moment.
func allFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		ln, err := net.Listen("tcp", loopback(port))
		if err != nil {
			return false
		}
		ln.Close()
	}
	return true
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
