package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
	// logErrorEvery is how often an Accept that goes on failing is logged.
	logErrorEvery = time.Minute
	// probeWait is how long an Accept after an error waits for a client until
	// the error is taken to be over.
	probeWait = 20 * time.Millisecond
	// queueWait is how long the acceptor looks for one more client in the
	// kernel's queue before it closes the socket, and maxQueueWait bounds it all.
	queueWait    = 500 * time.Microsecond
	maxQueueWait = 100 * time.Millisecond
	// slotRetry is how often it is looked whether a handshake has become
	// overdue while a client waits for its slot.
	slotRetry = 5 * time.Millisecond
)

// acceptor is the state of the accept loop's goroutine.
type acceptor struct {
	l        *Listener
	backoff  time.Duration // zero unless the last Accept failed
	loggedAt time.Time     // when an error was last logged
	logged   bool          // whether the present one was
}

// accept takes clients until the socket is to be closed, and closes it. A proxy may
// have thousands of listeners, and in each a goroutine that waits here: what it does
// with a client is apart, so that it waits on the smallest stack that there is.
func (l *Listener) accept() error {
	defer l.release()
	a := &l.acceptor
	a.l = l
	for !l.isStopping() {
		raw, err := l.ln.Accept()
		if err = a.handle(raw, err); err != nil {
			return err
		}
	}
	a.emptyQueue()
	return nil
}

// handle deals with what Accept has returned. Its error is that the socket was
// closed from elsewhere.
func (a *acceptor) handle(raw net.Conn, err error) error {
	switch {
	case err == nil:
		a.recovered()
		a.take(raw)
	case a.l.isStopping():
	case errors.Is(err, net.ErrClosed):
		return a.l.fail(err)
	case isTimeout(err):
		a.recovered() // the queue is empty, and that could be seen
	default:
		a.failed(err)
		a.pause()
	}
	return nil
}

// take has one client served.
func (a *acceptor) take(raw net.Conn) {
	o := a.l.options.Load()
	c := newConn(a.l, o, raw)
	if o.begins() {
		c.source = SourceOf(c.client)
	}
	if err := a.l.conns.add(c, o); err != nil {
		c.refuse(raw, err)
		return
	}
	if o.begins() {
		a.awaitSlot(c)
	}
	a.l.workers.run(func(ctx context.Context) { c.serve(ctx, raw) })
}

// awaitSlot returns when c has a slot among the unfinished handshakes. That takes
// a moment at most: one of them gives way soon.
func (a *acceptor) awaitSlot(c *conn) {
	for {
		now := time.Now()
		evicted, ok := a.l.conns.startHandshake(c, a.l.options.Load().MaxHandshakes, now)
		abortAll(evicted)
		if ok {
			return
		}
		retry := time.NewTimer(slotRetry)
		select {
		case <-a.l.conns.slotFree:
		case <-retry.C:
		}
		retry.Stop()
		a.l.conns.waited(time.Since(now))
	}
}

// emptyQueue takes what the kernel has accepted and nobody has fetched. An
// Accept whose time is over before it has begun does not look, so on a busy
// machine the kernel is asked once more.
func (a *acceptor) emptyQueue() {
	end := time.Now().Add(maxQueueWait)
	for now := time.Now(); now.Before(end) && !a.l.conns.isEnding(); now = time.Now() {
		if !a.l.deadline(now.Add(queueWait)) {
			return
		}
		raw, err := a.l.ln.Accept()
		switch {
		case err == nil:
			a.take(raw)
		case !isTimeout(err) || !readable(a.l.ln):
			return
		}
	}
}

// failed notes that Accept failed. An error that passes, such as descriptors that
// are used up, must not end the listener. It comes and goes with every descriptor
// that is closed, tens of times a second, so it is logged once a minute.
//
// The wait doubles without any chance in it, which package upstream/backoff would
// bring: nobody else waits for this socket who could fall into step.
func (a *acceptor) failed(err error) {
	a.backoff = min(max(2*a.backoff, minBackoff), maxBackoff)
	_ = a.l.fail(err)
	o := a.l.options.Load()
	o.AcceptFailed(err)
	if time.Since(a.loggedAt) >= logErrorEvery {
		a.loggedAt, a.logged = time.Now(), true
		o.log.Warn("cannot accept connections",
			"address", a.l.Addr().String(), "error", rootCause(err), "retry_in", a.backoff.String())
	}
}

// pause waits for the back-off, and makes the next Accept return soon even
// without a client, since only that shows whether the error is over.
func (a *acceptor) pause() {
	t := time.NewTimer(a.backoff)
	defer t.Stop()
	select {
	case <-t.C:
		a.probe(time.Now().Add(probeWait))
	case <-a.l.stopping:
	}
}

// recovered notes that Accept works.
func (a *acceptor) recovered() {
	if a.backoff == 0 {
		return
	}
	a.backoff = 0
	a.probe(time.Time{})
	a.l.problem.Store(nil)
	if a.logged {
		a.logged = false
		a.l.options.Load().log.Info("accepting connections again", "address", a.l.Addr().String())
	}
}

// probe sets the socket's deadline, unless StopAccepting has set its own.
func (a *acceptor) probe(t time.Time) {
	a.l.mu.Lock()
	defer a.l.mu.Unlock()
	if !a.l.isStopping() {
		a.l.deadline(t)
	}
}

// fail makes err the Listener's problem and returns it with the address.
func (l *Listener) fail(err error) error {
	err = fmt.Errorf("accepting on %s: %w", l.Addr(), rootCause(err))
	problem := err.Error()
	l.problem.Store(&problem)
	return err
}

// rootCause strips the address that net.OpError repeats.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
