//go:build unix

package dev

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// guardScript keeps the process IDs that it is told, "+" to add one and "-" to
// take one away. Its input ends with the process that writes it: what is left
// then is killed.
const guardScript = `
pids=" "
while read -r what pid; do
	case $what in
	+) pids="$pids$pid " ;;
	-) pids="${pids%% $pid *} ${pids#* $pid }" ;;
	esac
done
for pid in $pids; do kill -9 "$pid"; done
`

// guard outlives this process, if need be, to end its children. A nil guard does
// nothing. It is safe for concurrent use.
type guard struct {
	mu sync.Mutex // guards writing
	in io.WriteCloser
	// ended is closed when the shell has.
	ended chan struct{}
}

func startGuard() (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the shell that ends proxies with this process: %w", err)
	}
	g := &guard{in: in, ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		_ = cmd.Wait() // whatever it ended with
	}()
	return g, nil
}

// watch has the process killed at the end.
func (g *guard) watch(pid int) { g.send('+', pid) }

// forget leaves it alone: it has ended.
func (g *guard) forget(pid int) { g.send('-', pid) }

func (g *guard) send(what byte, pid int) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(g.in, "%c %d\n", what, pid)
}

// close ends the guard and what it still watches.
func (g *guard) close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.in.Close()
	g.mu.Unlock()
	<-g.ended
}
