//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

// startRun runs a command behind a proxy that only dials: it is ready when it has
// an identity, which an agent in this process gives.
func startRun(t *testing.T, agent string, command ...string) *agenttest.Process {
	t.Helper()
	args := append([]string{"run", "-service", "web", "-upstream", fmt.Sprintf("db:%d", agenttest.FreePort(t)),
		"-http-addr", agent, "-admin-addr", "off", "--"}, command...)
	return agenttest.StartProcess(t, agenttest.ProcessOptions{Path: self(t), Args: args, Env: []string{asProgram + "=1"}})
}

func TestRunStartsTheCommandWhenTheProxyIsReadyAndExitsWithItsCode(t *testing.T) {
	agent := startDevAgent(t)
	p := startRun(t, agent, "/bin/sh", "-c", "echo the application runs >&2; exit 7")
	if code := p.Wait(anEnd); code != 7 {
		t.Errorf("exit code %d\n%s", code, p.Output)
	}
	text := p.Output.String()
	at, ready := strings.Index(text, "the application runs"), strings.Index(text, ": ready")
	if at < 0 || ready < 0 {
		t.Errorf("ready at %d, the application at %d:\n%s", ready, at, text)
	}
	if p := startRun(t, agent, "/no/such/program"); p.Wait(anEnd) != exitNotFound {
		t.Errorf("a program that is not there:\n%s", p.Output)
	}
}

func TestRunPassesSignalsOnAndDrainsAfterTheCommand(t *testing.T) {
	p := startRun(t, startDevAgent(t), "/bin/sh", "-c",
		`trap 'echo got HUP >&2' HUP; trap 'echo got TERM >&2; exit 3' TERM; echo started >&2; while :; do sleep 0.1; done`)
	p.WaitOutput(soon, "started")
	p.Signal(syscall.SIGHUP)
	p.WaitOutput(soon, "got HUP")
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(anEnd); code != 3 {
		t.Errorf("exit code %d\n%s", code, p.Output)
	}
	p.WaitOutput(soon, "got TERM")
	p.WaitOutput(soon, "drained")
}

func TestRunSaysBySignalHowItsCommandEnded(t *testing.T) {
	p := startRun(t, startDevAgent(t), "/bin/sh", "-c", "kill -KILL $$")
	if code := p.Wait(anEnd); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d\n%s", code, p.Output)
	}
}

// Without a proxy that is ready the application would speak to nobody.
func TestRunDoesNotStartTheCommandWithoutAReadyProxy(t *testing.T) {
	p := startRun(t, "127.0.0.1:1", "/bin/sh", "-c", "echo the application runs >&2")
	p.WaitOutput(soon, "starting connect-proxy")
	p.Signal(os.Interrupt)
	if code := p.Wait(anEnd); code != exitDrained {
		t.Errorf("exit code %d\n%s", code, p.Output)
	}
	if strings.Contains(p.Output.String(), "the application runs") {
		t.Error("the application was started")
	}
	if code, _, stderr := program(t, "run", "-service", "web", "-upstream", "db:none", "--", "/bin/sh"); code != exitUsage || !strings.Contains(stderr, "db:none") {
		t.Errorf("with a wrong flag: %d %s", code, stderr)
	}
	if code, _, stderr := program(t, "run", "-service", "web"); code != exitUsage || !strings.Contains(stderr, "two dashes") {
		t.Errorf("without a command: %d %s", code, stderr)
	}
}

// As a shell's pipelines need it.
func TestACommandHasItsSignalsAsTheyWere(t *testing.T) {
	agent := startDevAgent(t)
	for _, s := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGHUP} {
		p := startRun(t, agent, "/bin/sh", "-c", fmt.Sprintf("kill -%d $$; exit 3", s))
		if code := p.Wait(anEnd); code != 128+int(s) {
			t.Errorf("%s: exit code %d\n%s", s, code, p.Output)
		}
	}
}

// Impatience is for the command to judge; its proxy does not leave it alone.
func TestRunPassesASecondSignalOnToo(t *testing.T) {
	p := startRun(t, startDevAgent(t), "/bin/sh", "-c",
		`n=0; trap 'n=$((n+1)); echo "signal $n" >&2' TERM; echo started >&2; until [ $n = 2 ]; do sleep 0.1; done; exit 42`)
	p.WaitOutput(soon, "started")
	p.Signal(syscall.SIGTERM)
	p.WaitOutput(soon, "signal 1")
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(anEnd); code != 42 {
		t.Errorf("exit code %d\n%s", code, p.Output)
	}
}

func TestRunLeavesTheKeysOfATerminalToTheTerminal(t *testing.T) {
	p := startOnScreen(t, nil, "run", "-service", "web", "-upstream", fmt.Sprintf("db:%d", agenttest.FreePort(t)),
		"-http-addr", startDevAgent(t), "-admin-addr", "off", "-log-level", "off", "--", "/bin/sh", "-c",
		`n=0; trap 'n=$((n+1))' INT; echo started; while [ $n = 0 ]; do sleep 0.1; done; sleep 1; exit $((40+n))`)
	p.shows("started")
	p.press("\x03")
	if code := p.wait(anEnd); code != 41 {
		t.Errorf("exit code %d: Ctrl-C arrived %d times", code, code-40)
	}
}

func TestRunAsksItsCommandToEndWhenTheProxyHasEnded(t *testing.T) {
	var errs bytes.Buffer
	signals, proxy := make(chan os.Signal, 1), make(chan int, 1)
	dir := t.TempDir()
	trapped, asked := filepath.Join(dir, "trapped"), filepath.Join(dir, "asked")
	exists := func(file string) {
		agenttest.Eventually(t, soon, func() error { _, err := os.Stat(file); return err })
	}
	var sent sync.WaitGroup
	sent.Go(func() {
		exists(trapped)
		proxy <- exitUsage
		// A command that takes its time still gets signals.
		exists(asked)
		signals <- syscall.SIGUSR1
	})
	code := application([]string{"/bin/sh", "-c", `trap ': > "$1"' TERM; trap 'exit 7' USR1; : > "$0"; while :; do sleep 0.1; done`, trapped, asked}, io.Discard, &errs, signals, proxy)
	sent.Wait()
	if code != exitUsage || !strings.Contains(errs.String(), "the proxy has ended") {
		t.Errorf("exit code %d, said %q", code, &errs)
	}
	if left := <-proxy; left != exitUsage {
		t.Errorf("the proxy's code is %d for whoever waits for it", left)
	}
}

func TestACommandIsNotLeftBehindByAProxyThatIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process that its parent has ended")
	}
	file := filepath.Join(t.TempDir(), "end")
	p := startRun(t, startDevAgent(t), "/bin/sh", "-c", `trap ': > "$0"; exit' TERM; echo started >&2; while :; do sleep 0.1; done`, file)
	p.WaitOutput(soon, "started")
	p.Signal(syscall.SIGKILL)
	agenttest.Eventually(t, soon, func() error { _, err := os.Stat(file); return err })
}
