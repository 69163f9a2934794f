package listener

import (
	"context"
	"fmt"
	"time"
)

// Run accepts connections until ctx is done or the Listener is drained, and
// returns when every connection and every goroutine has ended: nil if that was
// asked for, by Drain, StopAccepting or ctx, and an error if the socket was
// closed from elsewhere. When ctx is done, every connection is cut; whoever
// wants them to finish calls Drain first. Run is called once.
func (l *Listener) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.ran {
		l.mu.Unlock()
		return errRunTwice
	}
	l.ran = true
	stopped := l.isStopping()
	l.mu.Unlock()
	if stopped { // and closed by StopAccepting, before anything was accepted
		close(l.finished)
		return nil
	}

	// Connections do not end by ctx but by being cut, which says why.
	steps := context.WithoutCancel(ctx)
	l.crew = newCrew(steps)
	failed := make(chan error, 1)
	go func() { failed <- l.accept() }()

	if !l.watch(ctx) {
		l.conns.cutAll(ReasonShutdown)
		l.stop()
	}
	<-l.conns.empty
	err := <-failed
	l.crew.dismiss()
	if l.ownRelay {
		l.relay.Close()
	}
	l.lines.flush(l.options.Load().log)
	l.tellEvictions()
	close(l.finished)
	return err
}

// watch tells of evictions until every connection has ended and none can come,
// or until ctx is done, which it reports by false.
func (l *Listener) watch(ctx context.Context) bool {
	telling := false
	due := time.NewTimer(evictionsAgain)
	due.Stop() // until there is something to tell
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-l.conns.empty:
			return true
		case <-l.conns.evictions.begun:
			if !telling {
				telling = true
				due.Reset(evictionsFirst)
			}
		case <-due.C:
			if telling = l.tellEvictions(); telling {
				due.Reset(evictionsAgain)
			}
		}
	}
}

// tellEvictions writes a line if there is anything to tell.
func (l *Listener) tellEvictions() bool {
	e, held := l.conns.evicted()
	return e.log(l.options.Load().log, held)
}

// StopAccepting closes the socket and leaves the connections alone. What the
// kernel had already accepted on its behalf is taken in first: closing the
// socket would reset those clients, who believe that they are connected. When
// it returns, the address is free. It may be called any number of times, and
// before Run.
func (l *Listener) StopAccepting() {
	l.stop()
	<-l.released
}

func (l *Listener) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isStopping() {
		return
	}
	close(l.stopping)
	if !l.ran {
		l.release()
		return
	}
	if !l.deadline(time.Now()) {
		_ = l.ln.Close() // the acceptor is woken by nothing else
	}
}

// Drain stops accepting and waits until every connection has ended by itself;
// then it returns nil. When ctx is done first, it cuts those that are left,
// waits for their goroutines and returns an error that wraps ctx's. It may be
// called again, also while it is waiting: the first ctx that is done decides.
func (l *Listener) Drain(ctx context.Context) error {
	l.StopAccepting()
	select {
	case <-l.conns.empty:
		l.wait()
		return nil
	default:
	}
	select {
	case <-l.conns.empty:
		l.wait()
		return nil
	case <-ctx.Done():
	}
	n := l.conns.cutAll(ReasonDrain)
	l.wait()
	if n == 0 {
		return nil
	}
	return fmt.Errorf("draining %s: cutting %d connections: %w", l.options.Load().Name, n, context.Cause(ctx))
}

// wait returns when Run has ended, or at once if it never began.
func (l *Listener) wait() {
	l.mu.Lock()
	ran := l.ran
	l.mu.Unlock()
	if ran {
		<-l.finished
	}
}

func (l *Listener) isStopping() bool {
	select {
	case <-l.stopping:
		return true
	default:
		return false
	}
}

// release closes the socket. It is called once: by the acceptor when it ends,
// or in place of an acceptor that never began.
func (l *Listener) release() {
	_ = l.ln.Close()
	l.conns.seal()
	close(l.released)
}

// deadline bounds the acceptor's next wait; it reports false for a socket that
// has no deadlines.
func (l *Listener) deadline(t time.Time) bool {
	d, ok := l.ln.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
}
