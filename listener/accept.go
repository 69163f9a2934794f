package listener

import (
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
	// troubleAgain is how often lasting trouble is said again in the log.
	troubleAgain = time.Minute
	// probeWait is how long an Accept after trouble waits for a client until
	// the trouble is taken to be over.
	probeWait = 20 * time.Millisecond
	// queueWait is how long the acceptor looks for one more client in the
	// kernel's queue before it closes the socket, and queueMost bounds it all.
	queueWait = 500 * time.Microsecond
	queueMost = 100 * time.Millisecond
	// seatRetry is how often a client that waits for a place looks whether
	// another has become overdue.
	seatRetry = 5 * time.Millisecond
)

// acceptor is the state of the accept loop's goroutine.
type acceptor struct {
	l       *Listener
	backoff time.Duration // zero while all is well
	said    time.Time     // when trouble was last said, and
	told    bool          // whether that was this trouble
}

// accept takes clients until the socket is to be closed, and closes it.
func (l *Listener) accept() error {
	defer l.release()
	a := &acceptor{l: l}
	for !l.isStopping() {
		raw, err := l.ln.Accept()
		switch {
		case err == nil:
			a.recovered()
			a.take(raw)
		case l.isStopping():
		case errors.Is(err, net.ErrClosed):
			return l.fail(err)
		case isTimeout(err):
			a.recovered() // the queue is empty, and that could be seen
		default:
			a.trouble(err)
			a.pause()
		}
	}
	a.emptyQueue()
	return nil
}

// take sends one client up the ladder.
func (a *acceptor) take(raw net.Conn) {
	o := a.l.options.Load()
	c := &conn{l: a.l, o: o, addr: raw.RemoteAddr(), raw: raw, client: raw, start: time.Now()}
	if err := a.l.conns.add(c, o); err != nil {
		c.refuse(ReasonLimit, err)
		return
	}
	if o.Handshake != nil {
		c.source = sourceOf(c.addr)
		a.seat(c)
	}
	a.l.crew.climb(c)
}

// seat returns when c has a place among the strangers. That takes a moment at
// most: whoever holds a place gives way soon.
func (a *acceptor) seat(c *conn) {
	for {
		now := time.Now()
		cut, ok := a.l.conns.seat(c, a.l.options.Load().MaxHandshakes, now)
		end(cut)
		if ok {
			return
		}
		retry := time.NewTimer(seatRetry)
		select {
		case <-a.l.conns.slot:
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
	end := time.Now().Add(queueMost)
	for now := time.Now(); now.Before(end) && !a.l.conns.ending(); now = time.Now() {
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

// trouble notes that Accept failed. What passes by itself, such as descriptors
// that are used up, must not end the listener. It comes and goes with every one
// that is closed, tens of times a second: the log has it once a minute.
func (a *acceptor) trouble(err error) {
	a.backoff = min(max(2*a.backoff, minBackoff), maxBackoff)
	_ = a.l.fail(err)
	if time.Since(a.said) >= troubleAgain {
		a.said, a.told = time.Now(), true
		a.l.options.Load().log.Warn("cannot accept connections",
			"address", a.l.Addr().String(), "error", rootCause(err), "retry_in", a.backoff.String())
	}
}

// pause waits for the back-off, and makes the next Accept return soon even
// without a client, since only that shows whether the trouble is over.
func (a *acceptor) pause() {
	t := time.NewTimer(a.backoff)
	defer t.Stop()
	select {
	case <-t.C:
		a.probe(time.Now().Add(probeWait))
	case <-a.l.stopping:
	}
}

func (a *acceptor) recovered() {
	if a.backoff == 0 {
		return
	}
	a.backoff = 0
	a.probe(time.Time{})
	a.l.problem.Store(nil)
	if a.told {
		a.told = false
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
