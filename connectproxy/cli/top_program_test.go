//go:build unix

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"connect-proxy/connectproxy/agenttest"
)

// onScreen is a pseudo-terminal with a program on it.
type onScreen struct {
	t      *testing.T
	tty    *os.File // the program's side, to ask for the terminal's state
	master *os.File
	cmd    *exec.Cmd
	screen *screen
	before string // the terminal's state when the program started
	ended  chan struct{}
	read   chan struct{}
}

// startOnScreen runs the program on a terminal of 80 columns and 24 lines.
func startOnScreen(t *testing.T, env []string, args ...string) *onScreen {
	t.Helper()
	master, tty, err := pty.Open()
	if errors.Is(err, pty.ErrUnsupported) {
		t.Skip("how to open a terminal is not known on " + runtime.GOOS)
	}
	if err != nil {
		t.Fatalf("opening a terminal: %v", err)
	}
	p := &onScreen{t: t, tty: tty, master: master, screen: newScreen(), ended: make(chan struct{}), read: make(chan struct{})}
	p.resize(80, 24)
	p.before = lineSettings(t, tty)
	p.cmd = exec.Command(self(t), args...)
	p.cmd.Env = append([]string{"TERM=xterm", asProgram + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.ended); _ = p.cmd.Wait() }()
	go func() { defer close(p.read); p.screen.follow(master) }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		tty.Close()
		master.Close()
		<-p.read
	})
	return p
}

func (p *onScreen) resize(columns, lines uint16) {
	p.t.Helper()
	if err := pty.Setsize(p.master, &pty.Winsize{Cols: columns, Rows: lines}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *onScreen) press(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// shows waits until the screen has every text.
func (p *onScreen) shows(texts ...string) {
	p.t.Helper()
	agenttest.Eventually(p.t, soon, func() error {
		now := p.screen.String()
		for _, text := range texts {
			if !strings.Contains(now, text) {
				return fmt.Errorf("%q is not on the screen:\n%s", text, now)
			}
		}
		return nil
	})
}

// wait is the exit code of the program.
func (p *onScreen) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("the program goes on after %s:\n%s", within, p.screen)
	}
	return p.cmd.ProcessState.ExitCode()
}

// startForTop runs a proxy that calls db, and gives where it is asked.
func startForTop(t *testing.T, agent, socket string, port int) *agenttest.Process {
	t.Helper()
	return agenttest.StartProcess(t, agenttest.ProcessOptions{Path: self(t), Env: []string{asProgram + "=1"}, Args: []string{
		"-service", "web", "-upstream", fmt.Sprintf("db:%d", port), "-http-addr", agent, "-admin-addr", "unix:" + socket}})
}

func TestTopFollowsAProxyThatGoesAndComesBackAndLeavesTheTerminalAsItWas(t *testing.T) {
	agent, port, socket := startDevAgent(t), agenttest.FreePort(t), filepath.Join(socketDir(t), "w.sock")
	proxy := startForTop(t, agent, socket, port)
	proxy.WaitOutput(soon, ": ready")
	p := startOnScreen(t, nil, "top", "-admin-addr", "unix:"+socket)
	p.shows("web, ready, up for", "FROM", "THERE/S", "q leave")
	if lineSettings(t, p.tty) == p.before {
		t.Error("the terminal still edits lines: keys would wait for Enter")
	}

	// Beyond the last line nothing is drawn, and what has been lost comes back.
	p.resize(30, 3)
	p.shows("web, ready")
	agenttest.Eventually(t, soon, func() error {
		if now := p.screen.String(); strings.Contains(now, "FROM") {
			return fmt.Errorf("the fourth of three lines:\n%s", now)
		}
		return nil
	})
	p.resize(120, 30)
	p.shows("FROM", "TO SOURCE", "BACK/S")
	p.press(" ")
	p.shows("ready, held")
	p.press(" b")

	proxy.Signal(syscall.SIGKILL)
	proxy.Wait(anEnd)
	p.shows("asking the proxy at unix:"+socket, "FROM")
	proxy = startForTop(t, agent, socket, port)
	p.shows("web, ready, up for")

	// One that does not answer keeps no key waiting.
	proxy.Signal(syscall.SIGSTOP)
	<-time.After(1500 * time.Millisecond)
	p.press("q")
	if code := p.wait(adminTimeout - 2*time.Second); code != exitDrained {
		t.Errorf("exit code %d", code)
	}
	proxy.Signal(syscall.SIGCONT)
	if lineSettings(t, p.tty) != p.before {
		t.Error("the terminal is not as it was")
	}
	agenttest.Eventually(t, soon, func() error {
		if s := p.screen; !s.left() {
			return fmt.Errorf("the screen, or its cursor, is not given back:\n%s", s)
		}
		return nil
	})
}

func TestTopEndsByCtrlCBySignalsAndWithItsTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	agent, port, socket := startDevAgent(t), agenttest.FreePort(t), filepath.Join(socketDir(t), "w.sock")
	startForTop(t, agent, socket, port).WaitOutput(soon, ": ready")
	for name, end := range map[string]func(p *onScreen){
		"Ctrl-C":  func(p *onScreen) { p.press("\x03") },
		"Escape":  func(p *onScreen) { p.press("\x1b") },
		"SIGTERM": func(p *onScreen) { _ = p.cmd.Process.Signal(syscall.SIGTERM) },
		"SIGHUP":  func(p *onScreen) { _ = p.cmd.Process.Signal(syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startOnScreen(t, []string{"NO_COLOR=1"}, "top", "-admin-addr", "unix:"+socket)
			p.shows("web, ready")
			end(p)
			if code := p.wait(anEnd); code != exitDrained {
				t.Errorf("exit code %d", code)
			}
			if lineSettings(t, p.tty) != p.before {
				t.Error("the terminal is not as it was")
			}
		})
	}
	t.Run("the terminal is closed", func(t *testing.T) {
		t.Parallel()
		p := startOnScreen(t, nil, "top", "-admin-addr", "unix:"+socket)
		p.shows("web, ready")
		p.tty.Close()
		p.master.Close()
		p.wait(anEnd)
	})
	t.Run("a terminal without a screen", func(t *testing.T) {
		t.Parallel()
		p := startOnScreen(t, []string{"TERM=none-such"}, "top", "-admin-addr", "unix:"+socket)
		if code := p.wait(anEnd); code != exitDrained {
			t.Errorf("exit code %d", code)
		}
		p.shows("screen cannot be used", "FROM")
	})
}

// socketDir is a directory whose name is short enough for a socket in it.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cp") //nolint:usetesting // its name is too long on some systems
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	if testing.Short() {
		t.Skip("not with -short")
	}
	socket := filepath.Join(socketDir(t), "w.sock")
	startForTop(t, startDevAgent(t), socket, agenttest.FreePort(t)).WaitOutput(soon, ": ready")
	for name, c := range map[string]struct {
		env  []string
		want bool
	}{"a terminal": {nil, true}, "NO_COLOR": {[]string{"NO_COLOR=1"}, false}} {
		for _, command := range []string{"check", "status"} {
			p := startOnScreen(t, c.env, command, "-admin-addr", "unix:"+socket)
			if code := p.wait(anEnd); code != exitDrained {
				t.Errorf("%s: exit code %d:\n%s", command, code, p.screen)
			}
			p.shows("web")
			if p.screen.coloured() != c.want {
				t.Errorf("%s on %s: coloured %t", command, name, !c.want)
			}
		}
	}
	if _, out, _ := tool(t, "check", "-admin-addr", "unix:"+socket); strings.Contains(out, "\x1b") {
		t.Errorf("colours in a file: %q", out)
	}
}
