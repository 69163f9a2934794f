package broker

import "sync"

// queue is what waits for one member.
type queue struct {
	more   chan struct{} // holds one, when there is something new
	mu     sync.Mutex    // guards what follows
	events []*held
	size   int64
	closed bool
}

func newQueue() *queue { return &queue{more: make(chan struct{}, 1)} }

// push adds an event, if there is room.
func (q *queue) push(e *held) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.events) == MaxQueue || q.size+e.size > MaxQueueSize {
		return false
	}
	e.left.Add(1)
	q.events = append(q.events, e)
	q.size += e.size
	select {
	case q.more <- struct{}{}:
	default: // it is known
	}
	return true
}

// pop takes the oldest event, which the caller releases; nil where there is none.
func (q *queue) pop() *held {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) == 0 {
		return nil
	}
	e := q.events[0]
	q.events[0] = nil
	q.events = q.events[1:]
	q.size -= e.size
	return e
}

// clear drops what waits and returns how much that was.
func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.events)
	for _, e := range q.events {
		e.release()
	}
	q.events, q.size = nil, 0
	return n
}

// close is clear, and has nothing be taken any more.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.clear()
}
