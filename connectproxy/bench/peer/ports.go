//go:build linux

package peer

import (
	"fmt"
	"math/rand/v2"
	"net"

	"connect-proxy/connectproxy/bench/proc"
)

// freePorts finds n ports of 127.0.0.1 in a row that nothing listens on, away
// from those that outgoing connections get: the benchmark makes ten thousands
// of these, and one could have the port of a proxy that starts again.
func freePorts(n int) (first int, err error) {
	const lowest = 10240
	ephemeral, _ := proc.EphemeralPorts()
	highest := min(ephemeral, 65536) - n
	if highest <= lowest {
		return 0, fmt.Errorf("finding ports: outgoing connections take theirs from %d on", ephemeral)
	}
	for range 1000 {
		first := lowest + rand.IntN(highest-lowest)
		if allFree(first, n) {
			return first, nil
		}
	}
	return 0, fmt.Errorf("finding %d free ports between %d and %d", n, lowest, highest)
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
