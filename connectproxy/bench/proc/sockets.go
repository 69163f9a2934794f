//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Connections is how many established connections over IPv4 there are at a
// local port, at the side that accepted them.
func Connections(port int) (int, error) {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, fmt.Errorf("listing connections: %w", err)
	}
	return connections(text, port), nil
}

func connections(table []byte, port int) (n int) {
	const established = "01"
	at := fmt.Sprintf("%04X", port)
	for line := range bytes.Lines(table) {
		// Number, local address, remote address, state, and more.
		fields := strings.Fields(string(line))
		if len(fields) < 4 || fields[3] != established {
			continue
		}
		if _, local, _ := strings.Cut(fields[1], ":"); local == at {
			n++
		}
	}
	return n
}
