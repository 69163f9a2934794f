package listener

import (
	"context"
	"fmt"
	"time"
)

// Run accepts connections until ctx is done or the Listener is drained, and
// returns when every connection and every goroutine has ended: nil if that was
// asked for, by Drain, StopAccepting or ctx, and an error if the socket was
// closed from elsewhere. When ctx is done, every connection is reset; whoever
// wants them to finish calls Drain first. Run is called once.
func (l *Listener) Run(ctx context.Context) error {
	finish, err := l.begin(ctx)
	if finish == nil {
		return err
	}
	err = l.accept()
	finish()
	return err
}

// begin returns what is to be called when everything has been accepted; nil where
// there is nothing to be run.
func (l *Listener) begin(ctx context.Context) (finish func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ran {
		return nil, errRunTwice
	}
	l.ran = true
	if l.isStopping() { // and closed by StopAccepting, before anything was accepted
		close(l.finished)
		return nil, nil
	}
	// Connections do not end by ctx but by closeAll, which says why.
	l.workers = newWorkers(context.WithoutCancel(ctx))
	cut := make(chan struct{})
	stopCutting := context.AfterFunc(ctx, func() {
		defer close(cut)
		l.conns.closeAll(ReasonShutdown)
		l.stop()
	})
	return func() {
		<-l.conns.empty
		if !stopCutting() {
			<-cut
		}
		l.finish()
	}, nil
}

// finish ends what is left when the last connection has ended.
func (l *Listener) finish() {
	l.workers.stop()
	l.evictions.Wait()
	if l.ownRelay {
		l.relay.Close()
	}
	l.log.flush(l.options.Load().log)
	l.logEvictions()
	close(l.finished)
}

// watchEvictions logs evictions for as long as they go on and connections may
// come.
func (l *Listener) watchEvictions() {
	due := time.NewTimer(evictionLogDelay)
	defer due.Stop()
	for {
		select {
		case <-l.conns.empty:
			return
		case <-due.C:
			if !l.logEvictions() {
				return
			}
			due.Reset(evictionLogEvery)
		}
	}
}

// logEvictions writes a line if there was an eviction, and reports whether.
func (l *Listener) logEvictions() bool {
	e, unfinished := l.conns.takeEvictions()
	return e.log(l.options.Load().log, unfinished)
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
// then it returns nil. When ctx is done first, it resets those that are left,
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
	n := l.conns.closeAll(ReasonDrain)
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
	l.conns.noMoreConns()
	close(l.released)
}

// deadline bounds the acceptor's next wait; it reports false for a socket that
// has no deadlines.
func (l *Listener) deadline(t time.Time) bool {
	d, ok := l.ln.(interface{ SetDeadline(time.Time) error })
	return ok && d.SetDeadline(t) == nil
}
