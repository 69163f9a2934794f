package relay

import "time"

// untilNextTask is how long to wait for events: zero is not at all, and negative is
// for ever.
func (l *eventLoop) untilNextTask() time.Duration {
	if l.ready.first != nil {
		return 0
	}
	until := l.nextDeadline
	switch timed, watched := len(l.timers) > 0, len(l.unacked) > 0; {
	case !timed && !watched:
		return -1
	case !timed || watched && l.nextCheck.Before(l.nextDeadline):
		until = l.nextCheck
	}
	return max(time.Until(until), time.Millisecond)
}

// startTimer has expire look after c.
func (l *eventLoop) startTimer(c *conn) {
	if c.started.IsZero() {
		c.started = l.now
	}
	l.timers[c] = struct{}{}
	wait, _ := c.remaining(l.now)
	if at := l.now.Add(wait); len(l.timers) == 1 || at.Before(l.nextDeadline) {
		l.nextDeadline = at
	}
}

// expire ends the connections whose time is over. Bytes that move only put that
// moment off, so it looks again no sooner than the earliest one known.
func (l *eventLoop) expire() {
	if len(l.timers) == 0 || l.now.Before(l.nextDeadline) {
		return
	}
	next := time.Duration(1<<63 - 1)
	for c := range l.timers {
		wait, end := c.remaining(l.now)
		if wait <= 0 {
			l.end(c, end, nil)
			continue
		}
		next = min(next, wait)
	}
	l.nextDeadline = l.now.Add(next)
}
