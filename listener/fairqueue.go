package listener

import (
	"container/heap"
	"net/netip"
	"time"
)

// fifo holds connections in the order in which they joined it. A connection
// is in one of them at a time, so that joining and leaving allocate nothing.
type fifo struct {
	first, last *conn
	n           int
}

func (l *fifo) join(c *conn) {
	c.ahead, c.behind = l.last, nil
	if l.last != nil {
		l.last.behind = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

func (l *fifo) leave(c *conn) {
	if c.ahead != nil {
		c.ahead.behind = c.behind
	} else {
		l.first = c.behind
	}
	if c.behind != nil {
		c.behind.ahead = c.ahead
	} else {
		l.last = c.ahead
	}
	c.ahead, c.behind = nil, nil
	l.n--
}

// owner is whom a connection counts for: an address during its handshake, and among
// those that share a limit by their addresses, or else an identity once that is
// proven. The other field is zero.
type owner struct {
	source netip.Addr
	peer   string
}

// fairQueue holds connections in one queue for each owner, and knows the owner
// that has most of them.
type fairQueue struct {
	queues map[owner]*ownerQueue
	order  byCount
	n      int
}

type ownerQueue struct {
	fifo
	owner owner
	index int // in order
}

func (q *fairQueue) join(o owner, c *conn) {
	l := q.queues[o]
	if l == nil {
		if q.queues == nil {
			q.queues = make(map[owner]*ownerQueue)
		}
		l = &ownerQueue{owner: o}
		q.queues[o] = l
		heap.Push(&q.order, l)
	}
	l.join(c)
	c.queue = l
	heap.Fix(&q.order, l.index)
	q.n++
}

func (q *fairQueue) leave(c *conn) {
	l := c.queue
	l.leave(c)
	c.queue = nil
	q.n--
	if l.n > 0 {
		heap.Fix(&q.order, l.index)
		return
	}
	heap.Remove(&q.order, l.index)
	delete(q.queues, l.owner)
}

// requeue puts a connection last in its owner's queue, with another time.
func (q *fairQueue) requeue(c *conn, since time.Time) {
	l := c.queue
	l.leave(c)
	c.since = since
	l.join(c)
	heap.Fix(&q.order, l.index)
}

// count is how many connections an owner has.
func (q *fairQueue) count(o owner) int {
	if l := q.queues[o]; l != nil {
		return l.n
	}
	return 0
}

// most is the queue of the owner that has most connections; among equals it is
// the one whose first connection has been there longest. It is nil if there is
// none.
func (q *fairQueue) most() *ownerQueue {
	if len(q.order) == 0 {
		return nil
	}
	return q.order[0]
}

// crowded reports whether an owner has more than one connection.
func (q *fairQueue) crowded() bool { return len(q.order) > 0 && q.order[0].n > 1 }

// byCount is a heap of queues, the longest first.
type byCount []*ownerQueue

var _ heap.Interface = (*byCount)(nil)

func (b byCount) Len() int { return len(b) }

func (b byCount) Less(i, j int) bool {
	if b[i].n != b[j].n || b[i].n == 0 {
		return b[i].n > b[j].n
	}
	return b[i].first.since.Before(b[j].first.since)
}

func (b byCount) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].index, b[j].index = i, j
}

func (b *byCount) Push(x any) {
	l := x.(*ownerQueue)
	l.index = len(*b)
	*b = append(*b, l)
}

func (b *byCount) Pop() any {
	old := *b
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*b = old[:len(old)-1]
	return l
}
