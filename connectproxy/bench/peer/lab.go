//go:build linux

package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"connect-proxy/connectproxy/agenttest/agentbuild"
	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/proc"
)

// ServeCommand is the argument with which this program is the application; the
// next one is the address.
const ServeCommand = "serve"

// childMark is in the environment of every process that a Lab starts. Some of
// them are this program once more: one that did not know its argument, such as
// a test, would begin a benchmark of its own, and so on without end.
const childMark = "CONNECT_PROXY_BENCH_CHILD"

// Lab is what pairs share. It is for one goroutine.
type Lab struct {
	// Dir is a temporary directory, Root the repository's.
	Dir, Root string
	// Connections is the most that a pair has to hold at a time.
	Connections int
	// HardLimit is how many descriptors a process may have at most.
	HardLimit uint64

	out          io.Writer
	self         string // this program
	certificates certificates
	guard        *guard
	app          string
	appProcess   *process
	agent        *agent
	pairs        []*Pair
}

// NewLab makes the directory, the certificates and the application; Close ends
// all of it, also after an error. What takes time is said on out.
func NewLab(ctx context.Context, connections int, out io.Writer) (*Lab, error) {
	l := &Lab{Connections: connections, out: out}
	if os.Getenv(childMark) != "" {
		return l, errors.New("a process of a benchmark was asked to begin one")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return l, fmt.Errorf("asking for the limit of descriptors: %w", err)
	}
	l.HardLimit = limit.Max
	// A proxy needs two for each connection, and some for itself.
	if most := (limit.Max - 64) / 2; uint64(l.Connections) > most {
		l.Connections = int(most)
	}
	var err error
	if l.Root, err = agentbuild.Root(); err != nil {
		return l, err
	}
	if l.self, err = os.Executable(); err != nil {
		return l, fmt.Errorf("finding this program: %w", err)
	}
	if l.Dir, err = os.MkdirTemp("", "connect-proxy-bench-"); err != nil {
		return l, fmt.Errorf("making a temporary directory: %w", err)
	}
	if l.certificates, err = issue(l.Dir); err != nil {
		return l, err
	}
	if l.guard, err = newGuard(); err != nil {
		return l, err
	}
	return l, l.startApp(ctx)
}

// startApp runs the application as a process of its own: together with the
// clients it would need more descriptors than many machines allow.
func (l *Lab) startApp(ctx context.Context) error {
	port, err := freePorts(1)
	if err != nil {
		return err
	}
	l.app = loopback(port)
	if l.appProcess, err = l.start("application", []string{l.self, ServeCommand, l.app}); err != nil {
		return err
	}
	client := load.NewClient(l.app)
	return until(ctx, 10*time.Second, func() error {
		return errors.Join(l.appProcess.running(), client.Check(ctx))
	})
}

// Close stops every process and removes the directory.
func (l *Lab) Close() {
	for _, p := range l.pairs {
		p.Stop()
	}
	for _, p := range []*process{l.agentProcess(), l.appProcess} {
		if p != nil {
			p.stop()
		}
	}
	if l.guard != nil {
		l.guard.close()
	}
	if l.Dir != "" {
		_ = os.RemoveAll(l.Dir)
	}
}

// AgentCPU is what the Consul agent has spent.
func (l *Lab) AgentCPU() (time.Duration, error) {
	if l.agent == nil {
		return 0, nil
	}
	return sum([]*process{l.agent.process}, proc.CPU)
}

// goBuild builds a program of the module in dir into the lab's directory.
func (l *Lab) goBuild(ctx context.Context, name, dir, pkg string, cgo bool) error {
	fmt.Fprintf(l.out, "building %s\n", name)
	env := "CGO_ENABLED=0"
	if cgo {
		env = "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-o", l.binary(name), pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env, "GOWORK=off")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", name, err, lastLine(out))
	}
	return nil
}

// Commit names the last revision that changed the program that is measured,
// with a word if its source has been changed since.
func (l *Lab) Commit(ctx context.Context) string {
	program := []string{"--", "*.go", "go.mod", "go.sum", ":!*_test.go", ":!connectproxy/bench"}
	name, err := l.output(ctx, append([]string{"git", "-C", l.Root, "log", "-1", "--format=%h"}, program...)...)
	if err != nil {
		return "unknown"
	}
	changes, err := l.output(ctx, append([]string{"git", "-C", l.Root, "status", "--porcelain"}, program...)...)
	if err != nil || changes != "" {
		name += " with changes"
	}
	return name
}

func (l *Lab) binary(name string) string { return filepath.Join(l.Dir, name) }

// output is what a command says, its standard error included, in one line.
func (l *Lab) output(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running %s: %w: %s", filepath.Base(args[0]), err, lastLine(out))
	}
	return strings.Join(strings.Fields(string(out)), " "), nil
}

// installed finds a program, also where only root looks for it.
func installed(name, from string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is not installed (Debian: apt-get install %s)", name, from)
}

func lastLine(text []byte) string {
	s := strings.TrimSpace(string(text))
	return s[strings.LastIndexByte(s, '\n')+1:]
}
