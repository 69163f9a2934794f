package relay

import "time"

// patience is how long to wait for events: zero is not at all, and negative is
// for ever.
func (l *loop) patience() time.Duration {
	if l.ready.first != nil {
		return 0
	}
	until := l.due
	switch timed, watched := len(l.timed) > 0, len(l.watched) > 0; {
	case !timed && !watched:
		return -1
	case !timed || watched && l.sweepAt.Before(l.due):
		until = l.sweepAt
	}
	return max(time.Until(until), time.Millisecond)
}

// clock puts c under the eyes of tick.
func (l *loop) clock(c *conn) {
	if c.started.IsZero() {
		c.started = l.now
	}
	l.timed[c] = struct{}{}
	wait, _ := c.due(l.now)
	if at := l.now.Add(wait); len(l.timed) == 1 || at.Before(l.due) {
		l.due = at
	}
}

// tick ends the connections whose time is over. Bytes that move only put that
// moment off, so it looks again no sooner than the earliest one known.
func (l *loop) tick() {
	if len(l.timed) == 0 || l.now.Before(l.due) {
		return
	}
	next := time.Duration(1<<63 - 1)
	for c := range l.timed {
		wait, end := c.due(l.now)
		if wait <= 0 {
			l.end(c, end, nil)
			continue
		}
		next = min(next, wait)
	}
	l.due = l.now.Add(next)
}
