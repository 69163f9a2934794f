package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"connect-proxy/connectproxy/logwriter"
)

// lastWord is how long a second signal waits for whoever reads the log.
const lastWord = 100 * time.Millisecond

// untilSignal gives a context that SIGINT or SIGTERM cancels, which drains; a
// second one ends the process at once, for whoever will not wait, unless it is
// another's (secondSignal). SIGPIPE is discarded, by which Go ends a process that
// writes to a standard output or error without a reader, even if its parent had it
// ignored.
func untilSignal(parent context.Context, logs *logwriter.Writer) (ctx context.Context, stop func()) {
	second := new(secondSignal)
	ctx, cancel := context.WithCancel(context.WithValue(parent, secondSignalKey{}, second))
	discardSignal(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range signals {
			if ctx.Err() == nil {
				cancel()
			} else if !second.others.Load() {
				fmt.Fprintf(logs, "connect-proxy: second signal (%s), open connections are cut\n", s)
				logs.Close(lastWord)
				os.Exit(exitFailed)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		<-done
		cancel()
	}
}

// discardSignal has a signal do nothing from now on. It is not ignored, as the system
// calls it, since what is started from here would ignore it too.
func discardSignal(s os.Signal) { signal.Notify(make(chan os.Signal, 1), s) }

// secondSignal says for whom a second signal is.
type secondSignal struct{ others atomic.Bool }

type secondSignalKey struct{}

// passesSignals has second signals left to somebody else, until the function
// returned is called.
func passesSignals(ctx context.Context) (ended func()) {
	second, ok := ctx.Value(secondSignalKey{}).(*secondSignal)
	if !ok {
		return func() {}
	}
	second.others.Store(true)
	return func() { second.others.Store(false) }
}

// untilHangup is a context that SIGHUP cancels too, as it comes when a terminal is
// closed, unless the program was started to outlive that (nohup).
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}
