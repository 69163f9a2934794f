package cli

import (
	"io"
	"os"
	"os/signal"
	"syscall"

	"connect-proxy/config"
	"connect-proxy/connectproxy/accesslog"
)

// newAccessLog makes the access log, in the form of the log. An agent that
// launches a proxy keeps its standard output and error in two files; what this
// program says is in the latter.
func (p *plan) newAccessLog(stdout, stderr io.Writer) *accesslog.Log {
	if p.from.mode == config.Managed {
		stdout = stderr
	}
	return accesslog.New(accesslog.Options{Stdout: stdout, Stderr: stderr, JSON: p.options.logJSON})
}

// reopenOnHangup has a log file opened again at SIGHUP, as logrotate sends it,
// until the function returned is called.
func reopenOnHangup(log *accesslog.Log) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			log.Reopen()
		}
	}()
	return func() {
		discardSignal(syscall.SIGHUP) // Stop alone would have it end the process
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
