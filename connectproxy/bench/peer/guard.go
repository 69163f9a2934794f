//go:build linux

package peer

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// GuardCommand is the argument with which this program is a guard.
const GuardCommand = "guard"

// Guard reads process groups, one a line, "+12" for one that has begun and
// "-12" for one that has ended, and at the end of its input kills those that
// are left. The benchmark's own end closes that input, whatever ended it.
func Guard(in io.Reader, kill func(pgid int)) {
	alive := map[int]bool{}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var sign rune
		var pgid int
		if _, err := fmt.Sscanf(lines.Text(), "%c%d", &sign, &pgid); err != nil || pgid <= 1 {
			continue
		}
		if alive[pgid] = true; sign == '-' {
			delete(alive, pgid)
		}
	}
	for pgid := range alive {
		kill(pgid)
	}
}

// KillGroup kills every process of a group.
func KillGroup(pgid int) { _ = syscall.Kill(-pgid, syscall.SIGKILL) } // it may be gone

// guard is the guarding process. It is safe for any goroutine.
type guard struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
}

func newGuard() (*guard, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(self, GuardCommand)
	cmd.Env = childEnv(os.Environ())
	// Out of reach of what a terminal sends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("preparing the guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	return &guard{cmd: cmd, in: in}, nil
}

func (g *guard) begun(pgid int) { g.send("+", pgid) }
func (g *guard) ended(pgid int) { g.send("-", pgid) }

func (g *guard) send(sign string, pgid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(g.in, "%s%d\n", sign, pgid)
}

func (g *guard) close() {
	g.in.Close()
	_ = g.cmd.Wait()
}

// childEnv leaves out what would configure proxies behind the benchmark's back,
// and marks the process as one of a benchmark's.
func childEnv(env []string) []string {
	var kept []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "CONSUL_") && !strings.HasPrefix(kv, "CONNECT_") {
			kept = append(kept, kv)
		}
	}
	return append(kept, childMark+"=1")
}
