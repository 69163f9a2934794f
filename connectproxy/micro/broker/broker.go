package broker

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
)

// Options are what a Broker works with. All functions must be safe for concurrent
// use; those without another word are required.
type Options struct {
	// Topic reports whether applications may publish and subscribe to a topic.
	Topic func(topic string) bool
	// Service returns the destination that a service is, if events may go there.
	Service func(name string) (config.Destination, bool)
	// Own returns the name of the proxy's own service.
	Own func() string
	// Catalog says which services subscribe; nil means that none does.
	Catalog Catalog
	// Sender makes what sends to a service. It must not block.
	Sender func(to config.Destination) Sender
	// Logger may be nil.
	Logger hclog.Logger
}

// Sender sends events to one service. Its methods are called by one goroutine.
type Sender interface {
	// Send sends an event to an instance of the service. An error says that the
	// service cannot be reached or has not answered: what waits for it is dropped.
	Send(ctx context.Context, e *Event) error
	// Close ends its connections.
	Close()
}

const (
	// MaxServices is to how many services events are on the way at a time.
	MaxServices = 256
	// SendTime bounds the delivery of an event to a service.
	SendTime = 5 * time.Second
)

// Broker hands out events. Its methods are safe for concurrent use.
type Broker struct {
	o         Options
	directory *directory
	used      atomic.Int64 // bytes of events
	// reading and bringing hold one for each event that is read, from a client and
	// from another proxy.
	reading, bringing chan struct{}
	readTime          time.Duration // a field for tests
	counts            eventCounts

	ended chan struct{} // closed at the end of Run
	runs  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	closed   bool
	topics   map[string]*topic
	outboxes map[config.Destination]*outbox
	// subscribed is how many Subscriptions there are.
	subscribed int
}

// New makes a Broker. It starts nothing.
func New(o Options) *Broker {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	b := &Broker{
		o: o, directory: newDirectory(o.Catalog), counts: newCounts(),
		reading: make(chan struct{}, maxReading), bringing: make(chan struct{}, maxReading), readTime: readTime,
		topics: make(map[string]*topic), outboxes: make(map[config.Destination]*outbox),
		ended: make(chan struct{}),
	}
	return b
}

// Run returns when ctx is done and everything that the Broker has started has
// ended; what waits for members then is lost. It is called once.
func (b *Broker) Run(ctx context.Context) error {
	<-ctx.Done()
	b.mu.Lock()
	b.closed = true
	for _, o := range b.outboxes {
		o.stop()
	}
	b.mu.Unlock()
	close(b.ended)
	b.runs.Wait()
	return ctx.Err()
}

// Publish hands an event to everybody who subscribes to its topic. It does not wait
// until they have it, but for the agent to say who they are, if need be. An error is
// one of this package's: the event goes to nobody.
func (b *Broker) Publish(ctx context.Context, e Event) error {
	taken, err := b.publish(ctx, e)
	b.came(fromApplication, taken, err)
	return err
}

func (b *Broker) publish(ctx context.Context, e Event) (taken int, err error) {
	if err := b.check(&e); err != nil {
		return 0, err
	}
	names, err := b.directory.lookup(ctx, e.Topic)
	if err != nil {
		return 0, err
	}
	return b.hand(ctx, e, names)
}

// Receive hands an event that another proxy has brought to the websockets here,
// and returns how many get it.
func (b *Broker) Receive(ctx context.Context, e Event) (taken int, err error) {
	if err = b.check(&e); err == nil {
		taken, err = b.hand(ctx, e, nil)
	}
	b.came(fromProxy, taken, err)
	return taken, err
}

func (b *Broker) check(e *Event) error {
	if err := e.check(); err != nil {
		return err
	}
	if !b.o.Topic(e.Topic) {
		return ErrNotAllowed
	}
	return nil
}

// hand puts an event into the queues of the websockets here and of the services,
// and returns how many get it.
func (b *Broker) hand(ctx context.Context, e Event, services []string) (taken int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, ErrClosed
	}
	here := b.topics[e.Topic]
	to := b.destinations(services, here != nil)
	if here == nil && len(to) == 0 {
		return 0, nil
	}
	h, ok := reserve(e.withTopic(), here != nil, &b.used)
	if !ok {
		return 0, ErrFull
	}
	defer h.release()
	if here != nil {
		taken = here.hand(h, b.lost)
	}
	for _, d := range to {
		if b.send(ctx, d, h) {
			taken++
		} else {
			b.lost(toService, d.String(), lossFull, "its queue is full", 1)
		}
	}
	if taken == 0 {
		return 0, ErrLost
	}
	return taken, nil
}

// destinations are those of the services that events may go to, but for the
// proxy's own where a websocket stands for it.
func (b *Broker) destinations(services []string, standsIn bool) (to []config.Destination) {
	for _, name := range services {
		if standsIn && strings.EqualFold(name, b.o.Own()) {
			continue
		}
		if d, ok := b.o.Service(name); ok && !slices.Contains(to, d) {
			to = append(to, d)
		}
	}
	return to
}

// outbox is what waits for a service, and what ends its deliveries.
type outbox struct {
	*queue
	stop context.CancelFunc
}

// send has an event sent to a service. The caller holds mu.
func (b *Broker) send(ctx context.Context, to config.Destination, e *held) bool {
	if o := b.outboxes[to]; o != nil {
		return o.push(e)
	}
	if len(b.outboxes) == MaxServices {
		return false
	}
	o := &outbox{queue: newQueue()}
	ctx, o.stop = context.WithCancel(context.WithoutCancel(ctx)) // the publisher may go
	b.outboxes[to] = o
	o.push(e)
	b.runs.Go(func() {
		defer o.stop()
		b.deliver(ctx, to, o.queue)
	})
	return true
}

// deliver sends what waits for a service, until nothing does.
func (b *Broker) deliver(ctx context.Context, to config.Destination, q *queue) {
	s := b.o.Sender(to)
	defer s.Close()
	for {
		e := b.next(to, q)
		if e == nil {
			return
		}
		if e.late() {
			e.release()
			b.lost(toService, to.String(), lossLate, "it has waited too long", 1)
			continue
		}
		sending, cancel := context.WithTimeout(ctx, SendTime)
		err := s.Send(sending, &e.Event)
		cancel()
		e.release()
		if err != nil && ctx.Err() == nil {
			b.lost(toService, to.String(), lossFailed, err.Error(), 1+q.clear())
		}
	}
}

// next returns the next event for a service, or forgets its queue.
func (b *Broker) next(to config.Destination, q *queue) *held {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		q.close()
	}
	e := q.pop()
	if e == nil {
		delete(b.outboxes, to)
	}
	return e
}
