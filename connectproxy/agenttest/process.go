package agenttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

// ProcessOptions say what to run.
type ProcessOptions struct {
	Path string
	Args []string
	// Env is added to the test's own environment, from which everything of
	// Consul's (CONSUL_*, CONNECT_*) has been taken out.
	Env []string
	// Dir is the working directory; empty is the test's own.
	Dir string
}

// Process is a child of the test. Its methods are safe for any goroutine but
// those that fail the test: Signal, Wait and WaitOutput.
type Process struct {
	// Output is what it has written on both of its streams, Stderr and Stdout
	// what it has written on one.
	Output, Stdout, Stderr *Log

	t    testing.TB
	name string
	cmd  *exec.Cmd
	// noise marks lines that are left out when the test has failed.
	noise []string
	// done is closed once the process has been waited for.
	done chan struct{}
}

// StartProcess runs a child that is killed, if it still runs, when the test
// ends. The end of what it wrote is logged if the test has failed by then.
func StartProcess(t testing.TB, o ProcessOptions) *Process {
	t.Helper()
	p, err := startProcess(t, o)
	if err != nil {
		t.Fatalf("starting %s: %v", o.Path, err)
	}
	t.Cleanup(p.end)
	return p
}

func startProcess(t testing.TB, o ProcessOptions) (*Process, error) {
	output := new(Log)
	p := &Process{
		Output: output,
		Stdout: &Log{also: output},
		Stderr: &Log{also: output},
		t:      t,
		name:   filepath.Base(o.Path),
		cmd:    exec.Command(o.Path, o.Args...),
		done:   make(chan struct{}),
	}
	p.cmd.Env = append(cleanEnv(), o.Env...)
	p.cmd.Dir = o.Dir
	p.cmd.Stdout = p.Stdout
	p.cmd.Stderr = p.Stderr
	p.cmd.SysProcAttr = sysProcAttr()
	// A grandchild may hold the streams open for longer than the child lives.
	p.cmd.WaitDelay = time.Second
	started := make(chan error)
	go p.run(started)
	return p, <-started
}

// run starts the child and waits for it, on one thread: the kernel takes the
// end of the thread that started a child for the end of its parent.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	// The state says how it ended; what Wait returns is that once more.
	_ = p.cmd.Wait()
}

// end kills the process and what is left of its group.
func (p *Process) end() {
	killGroup(p.cmd.Process.Pid)
	<-p.done
	if p.t.Failed() {
		p.t.Logf("the end of what %s (pid %d, %s) wrote:\n%s", p.name, p.Pid(), p.cmd.ProcessState, p.Output.Tail(80, p.noise...))
	}
}

// Pid is the child's process ID, also after its end.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the process alone. One that has ended already is
// not an error.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("sending %s to %s: %v", sig, p.name, err)
	}
}

// Wait waits for the end of the process and returns its exit code, which is -1
// if a signal ended it. A process that goes on for longer fails the test.
func (p *Process) Wait(within time.Duration) int {
	p.t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.t.Fatalf("%s (pid %d) still runs after %s", p.name, p.Pid(), within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// WaitOutput waits until the process has written text on either stream, and
// fails the test if it ends, or time does, before that.
func (p *Process) WaitOutput(within time.Duration, text string) {
	p.t.Helper()
	if err := listenertest.Poll(within, p.done, p.wrote(text)); err != nil && p.wrote(text)() != nil {
		p.t.Fatalf("waiting %s for %s: %v", within, p.name, err)
	}
}

func (p *Process) wrote(text string) func() error {
	return func() error {
		if !strings.Contains(p.Output.String(), text) {
			return fmt.Errorf("%q is not in its output", text)
		}
		return nil
	}
}

// cleanEnv is the test's environment without what would configure an agent, a
// client or a proxy behind the test's back. The choice of TLS stays: every test
// holds with each (make test-crypto-tls).
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		tls := strings.HasPrefix(kv, "CONNECT_PROXY_TLS_")
		if !tls && (strings.HasPrefix(kv, "CONSUL_") || strings.HasPrefix(kv, "CONNECT_")) {
			continue
		}
		env = append(env, kv)
	}
	return env
}
