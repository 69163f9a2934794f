package relay

// queue is a line of connections, linked through themselves.
type queue struct{ first, last *conn }

func (q *queue) push(c *conn) {
	if q.last == nil {
		q.first = c
	} else {
		q.last.next = c
	}
	q.last = c
}

// pop takes the first out; there must be one.
func (q *queue) pop() *conn {
	c := q.first
	if q.first = c.next; q.first == nil {
		q.last = nil
	}
	c.next = nil
	return c
}

// enqueue gives c another turn after those that wait already.
func (l *eventLoop) enqueue(c *conn) {
	if !c.queued {
		c.queued = true
		l.ready.push(c)
	}
}

// serveEvents serves the connections at which something happened, or puts them
// in line where they are busy ones.
func (l *eventLoop) serveEvents(events []event) {
	for _, e := range events {
		if e.c.loop.Load() == l {
			e.c.noteEvents(e.side, e.bits)
		}
	}
	for _, e := range events {
		switch c := e.c; {
		case c.loop.Load() != l: // was handed over in this round
		case c.ended || c.queued:
		case l.busy:
			l.enqueue(c)
		default:
			l.serve(c)
		}
	}
}

// serveReady gives the first in line its turn.
func (l *eventLoop) serveReady() {
	if l.ready.first == nil {
		return
	}
	c := l.ready.pop()
	c.queued = false
	if c.ended {
		return
	}
	l.unbroken += l.serve(c)
	if l.unbroken >= yieldAfter && l.attentive() {
		l.unbroken = 0
		yield()
	}
}
