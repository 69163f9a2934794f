//go:build unix

package agenttest

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
)

// guardScript reads the agent's process IDs, one a line, until it is told that
// all is done. If its input ends before that, the test process has died without
// its cleanup: the agent may be orphaned, and the proxies it launched, each the
// leader of a session of its own, are.
const guardScript = `
while read -r line; do
	[ "$line" = done ] && exit 0
	agent=$line
done
[ -z "$agent" ] || kill -9 "-$agent"
for file in "$1"/proxy/pids/*.pid; do
	read -r proxy <"$file" || [ -n "$proxy" ] && kill -9 "-$proxy"
done
`

// guard outlives the test process, if need be, to end what that left behind. A
// nil guard does nothing.
type guard struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

func newGuard(dataDir string) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "guard", dataDir)
	// Out of reach of what a terminal sends to the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &guard{cmd: cmd, in: in}, nil
}

// watch names the agent's latest process.
func (g *guard) watch(pid int) {
	if g != nil {
		fmt.Fprintln(g.in, pid)
	}
}

// done ends the guard without its having done anything.
func (g *guard) done() {
	if g != nil {
		fmt.Fprintln(g.in, "done")
		g.in.Close()
		_ = g.cmd.Wait()
	}
}
