package listener

import (
	"container/heap"
	"net/netip"
)

// line holds connections in the order in which they joined it. A connection
// stands in one line at a time, so that joining and leaving allocate nothing.
type line struct {
	first, last *conn
	n           int
}

func (l *line) join(c *conn) {
	c.ahead, c.behind = l.last, nil
	if l.last != nil {
		l.last.behind = c
	} else {
		l.first = c
	}
	l.last = c
	l.n++
}

func (l *line) leave(c *conn) {
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

// party is whose a connection is: an address's while it is a stranger's, an
// identity's once that is proven. The other field is zero.
type party struct {
	source netip.Addr
	peer   string
}

// fairQueue holds connections in one line for each party, and knows the party
// that has most of them.
type fairQueue struct {
	lines map[party]*partyLine
	order byCount
	n     int
}

type partyLine struct {
	line
	party party
	index int // in order
}

func (q *fairQueue) join(p party, c *conn) {
	l := q.lines[p]
	if l == nil {
		if q.lines == nil {
			q.lines = make(map[party]*partyLine)
		}
		l = &partyLine{party: p}
		q.lines[p] = l
		heap.Push(&q.order, l)
	}
	l.join(c)
	c.partyLine = l
	heap.Fix(&q.order, l.index)
	q.n++
}

func (q *fairQueue) leave(c *conn) {
	l := c.partyLine
	l.leave(c)
	c.partyLine = nil
	q.n--
	if l.n > 0 {
		heap.Fix(&q.order, l.index)
		return
	}
	heap.Remove(&q.order, l.index)
	delete(q.lines, l.party)
}

// most is the line of the party that has most connections; among equals it is
// the one whose first connection has stood there longest. It is nil if there is
// none.
func (q *fairQueue) most() *partyLine {
	if len(q.order) == 0 {
		return nil
	}
	return q.order[0]
}

// byCount is a heap of lines, the longest first.
type byCount []*partyLine

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
	l := x.(*partyLine)
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
