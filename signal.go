package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"connect-proxy/connectproxy/logwriter"
)

// lastWord is how long a second signal waits for whoever reads the log.
const lastWord = 100 * time.Millisecond

// untilSignal gives a context that SIGINT or SIGTERM cancels, which drains; a
// second one ends the process at once, for whoever will not wait. SIGHUP is
// ignored: a changed configuration file is read without being asked for, and
// `systemctl reload` must not cut connections. So is SIGPIPE, by which Go ends a
// process that writes to a standard output or error without a reader, even if
// its parent had it ignored.
func untilSignal(parent context.Context, logs *logwriter.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, ok := <-signals; !ok {
			return
		}
		cancel()
		if s, ok := <-signals; ok {
			fmt.Fprintf(logs, "connect-proxy: second signal (%s), open connections are cut\n", s)
			logs.Close(lastWord)
			os.Exit(exitFailed)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		<-done
		cancel()
	}
}
