package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
)

const runHelp = `Usage: connect-proxy run [flags] -- COMMAND [ARGUMENTS]

  Runs the proxy by the flags, and the command as soon as the proxy is ready.
  Signals are passed on to the command, but for those that the keys of a terminal
  send to both, and the proxy goes on until it has ended: then it drains. Should the
  proxy end first, the command gets SIGTERM.

  Exit code: the command's, or 128 and the signal's number where one ended it.
  Without a ready proxy the command is not started: 0 where a signal came first,
  and otherwise the proxy's own. 126 or 127: the command cannot be started, or
  found.`

// What a shell says of a command that does not start.
const (
	exitNotStarted = 126
	exitNotFound   = 127
)

// runWith runs a proxy and an application behind it.
func runWith(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	split := slices.Index(args, "--")
	if split < 0 || split == len(args)-1 {
		return usage(stderr, "run: give the command behind two dashes, as: connect-proxy run -sidecar-for web -- ./web")
	}
	command := args[split+1:]
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, forwardedSignals...)
	defer signal.Stop(signals)

	// The proxy outlives ctx: the application may need it until it has ended.
	proxyCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ready := make(chan struct{})
	var once sync.Once
	proxy := make(chan int, 1)
	go func() {
		proxy <- runProxyAnd(proxyCtx, args[:split], stdout, stderr, func(ok bool, _ []string) {
			if ok {
				once.Do(func() { close(ready) })
			}
		})
	}()
	select {
	case <-ready:
	case code := <-proxy:
		return code
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		stop()
		return <-proxy
	}
	forget(signals)
	ended := passesSignals(ctx)
	code := application(command, stdout, stderr, signals, proxy)
	ended()
	stop()
	<-proxy
	return code
}

// forget takes out what came before there was a command.
func forget(signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
		default:
			return
		}
	}
}

// application runs the command until it ends. A proxy that ends before has the
// command asked to end too.
func application(command []string, stdout, stderr io.Writer, signals <-chan os.Signal, proxy chan int) int {
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // signals end it, in its own way
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, os.Stderr
	cmd.SysProcAttr = parentDeathSignal()
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // for Linux its parent is this thread
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // its state tells more than its error
		}
	}()
	if err := <-started; err != nil {
		<-ended
		report(stderr, fmt.Sprintf("run: starting %s: %v", command[0], err))
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return exitNotFound
		}
		return exitNotStarted
	}
	var gone <-chan int = proxy
	failed := 0
	for {
		select {
		case s := <-signals:
			if !sentByTerminal(s) {
				_ = cmd.Process.Signal(s) // it may have ended
			}
		case code := <-gone:
			report(stderr, "run: the proxy has ended, and the command is asked to end")
			_ = cmd.Process.Signal(syscall.SIGTERM)
			gone, failed = nil, max(code, exitFailed)
			proxy <- code // for whoever waits for it
		case <-ended:
			if failed != 0 {
				return failed
			}
			return exitCode(cmd.ProcessState)
		}
	}
}
