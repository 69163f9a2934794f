package dev

import (
	"context"
	"io"
	"os/exec"
	"runtime"
	"time"
)

// What an agent does with the proxies it launches: how long it leaves one
// between SIGINT and SIGKILL, how often it starts one at once, after how long a
// run that count begins anew, and what it waits at most.
const (
	killAfter    = 5 * time.Second
	startsAtOnce = 3
	goodRun      = 10 * time.Second
	longestPause = time.Minute
)

// child is a proxy that runs as a process.
type child struct {
	name    string
	command []string
	env     []string
	output  io.Writer
	guard   *guard
}

// run keeps the process going until ctx is done, and returns once it has ended.
// It stays on one thread: Linux takes the end of the thread that started a
// child for the end of its parent.
func (c *child) run(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for starts := 1; ; starts++ {
		began := time.Now()
		if err := c.once(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		if time.Since(began) >= goodRun {
			starts = 0
		}
		timer := time.NewTimer(pauseAfter(starts))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// pauseAfter is what an agent waits after that many starts.
func pauseAfter(starts int) time.Duration {
	if starts < startsAtOnce {
		return 0
	}
	return min(time.Second<<min(starts-startsAtOnce+1, 10), longestPause)
}

// once runs the process until it ends. Its error is that it cannot be started.
func (c *child) once(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = c.output, c.output
	cmd.SysProcAttr = childAttributes()
	cmd.Cancel = func() error { return interrupt(cmd.Process) }
	cmd.WaitDelay = killAfter
	if err := cmd.Start(); err != nil {
		return err
	}
	c.guard.watch(cmd.Process.Pid)
	_ = cmd.Wait() // it is started again, whatever it ended with
	c.guard.forget(cmd.Process.Pid)
	return nil
}
