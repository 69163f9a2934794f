//go:build linux

package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"connect-proxy/connectproxy/bench/proc"
)

// process is a started program and what it starts itself, in a group of its
// own.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has been waited for
}

// start runs a command, which logs to a file in the lab's directory.
func (l *Lab) start(name string, args []string) (*process, error) {
	p := &process{name: name, log: filepath.Join(l.Dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a log: %w", err)
	}
	defer log.Close()
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Dir = l.Dir
	p.cmd.Env = childEnv(os.Environ())
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	l.guard.begun(p.pgid())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the state says how it ended
		l.guard.ended(p.pgid())
	}()
	return p, nil
}

func (p *process) pgid() int { return p.cmd.Process.Pid }

// running is an error, with the end of the log, once the process has ended.
func (p *process) running() error {
	select {
	case <-p.done:
		text, _ := os.ReadFile(p.log)
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		return fmt.Errorf("%s has ended: %s: %s", p.name, p.cmd.ProcessState, bytes.Join(lines[max(0, len(lines)-3):], []byte(" | ")))
	default:
		return nil
	}
}

// stop asks the process to end and kills it, and all of its group, if it takes
// longer than a moment.
func (p *process) stop() {
	_ = syscall.Kill(-p.pgid(), syscall.SIGTERM)
	timer := time.NewTimer(3 * time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
	KillGroup(p.pgid())
	<-p.done
}

// sum adds up what is read of each process of the groups.
func sum[N int | int64 | time.Duration](processes []*process, read func(pid int) (N, error)) (N, error) {
	var total N
	for _, p := range processes {
		pids, err := proc.Group(p.pgid())
		if err != nil {
			return 0, err
		}
		if len(pids) == 0 {
			return 0, errors.Join(p.running(), fmt.Errorf("%s has no process", p.name))
		}
		for _, pid := range pids {
			n, err := read(pid)
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

// until asks again and again, until done says nil, ctx ends or the time is up,
// and then gives done's last answer.
func until(ctx context.Context, within time.Duration, done func() error) error {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (after %s)", err, time.Since(begun).Round(time.Second))
		case <-ticker.C:
		}
	}
}
