package broker

import (
	"context"
	"slices"
)

// MaxSubscribers is how many applications may subscribe here at a time.
const MaxSubscribers = 512

// topic is what applications here subscribe to.
type topic struct {
	// alone are those without a queue; queues are those that share one.
	alone  []*Subscription
	queues map[string]*group
}

// group are the members of a queue. Each event goes to one of them.
type group struct {
	members []*Subscription
	next    int
}

// Subscription is an application's that subscribes here.
type Subscription struct {
	b            *Broker
	topic, queue string
	waiting      *queue
}

// Subscribe subscribes to a topic, alone or as a member of a queue, which is empty or
// its name. The caller closes the Subscription.
func (b *Broker) Subscribe(name, queueName string) (*Subscription, error) {
	if err := b.check(&Event{Topic: name}); err != nil {
		return nil, err
	}
	if !nameable(queueName) {
		return nil, ErrName
	}
	s := &Subscription{b: b, topic: name, queue: queueName, waiting: newQueue()}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, ErrClosed
	case b.subscribed == MaxSubscribers:
		return nil, ErrMany
	}
	b.subscribed++
	t := b.topics[name]
	if t == nil {
		t = &topic{queues: make(map[string]*group)}
		b.topics[name] = t
	}
	if queueName == "" {
		t.alone = append(t.alone, s)
		return s, nil
	}
	g := t.queues[queueName]
	if g == nil {
		g = &group{}
		t.queues[queueName] = g
	}
	g.members = append(g.members, s)
	return s, nil
}

// Close ends the subscription, and its topic with the last. It is called once.
func (s *Subscription) Close() {
	b := s.b
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribed--
	s.waiting.close()
	t := b.topics[s.topic]
	if g := t.queues[s.queue]; g != nil {
		g.members = slices.DeleteFunc(g.members, func(m *Subscription) bool { return m == s })
		if len(g.members) == 0 {
			delete(t.queues, s.queue)
		}
	} else {
		t.alone = slices.DeleteFunc(t.alone, func(m *Subscription) bool { return m == s })
	}
	if len(t.alone) == 0 && len(t.queues) == 0 {
		delete(b.topics, s.topic)
	}
}

// Run writes each event that comes, as JSON, until ctx is done or write returns an
// error, which it returns.
func (s *Subscription) Run(ctx context.Context, write func(event []byte) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.b.ended:
			return ErrClosed
		case <-s.waiting.more:
		}
		for e := s.waiting.pop(); e != nil; e = s.waiting.pop() {
			err := error(nil)
			if e.late() {
				s.b.lost(toWebsocket, "a websocket of "+s.topic, lossLate, "it has waited too long", 1)
			} else {
				err = write(e.text())
			}
			e.release()
			if err != nil {
				return err
			}
		}
	}
}

// hand puts an event into the queues of the members and returns how many get it.
func (t *topic) hand(e *held, lost func(kind, member, loss, why string, events int)) (taken int) {
	for _, s := range t.alone {
		if s.waiting.push(e) {
			taken++
		} else {
			lost(toWebsocket, "a websocket of "+s.topic, lossFull, "its queue is full", 1)
		}
	}
	for name, g := range t.queues {
		if g.hand(e) {
			taken++
		} else {
			lost(toWebsocket, "the queue "+name+" of "+e.Topic, lossFull, "the queues of all members are full", 1)
		}
	}
	return taken
}

// hand gives an event to the next member that has room for it.
func (g *group) hand(e *held) bool {
	for range g.members {
		g.next = (g.next + 1) % len(g.members)
		if g.members[g.next].waiting.push(e) {
			return true
		}
	}
	return false
}
