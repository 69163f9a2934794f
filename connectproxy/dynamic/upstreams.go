package dynamic

import (
	"context"
	"sync"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
)

const (
	// MaxUpstreams is how many destinations are kept at a time.
	MaxUpstreams = 256
	// IdleTime is how long a destination is kept after its last connection.
	IdleTime = 10 * time.Minute
	// FirstAnswer is how long the agent may take to say which instances a new
	// destination has.
	FirstAnswer = 1500 * time.Millisecond
	// RememberAbsent is how long a destination without instances is refused
	// without asking the agent again.
	RememberAbsent = 3 * time.Second

	// maxProbes is how many new names the agent is asked about at a time.
	maxProbes = 16
	// absentRate and absentBurst bound the names that turn out to be nobody's: so
	// many a second, and so many at once after a quiet time.
	absentRate, absentBurst = 10, 100
)

// Upstream is a destination that is open. Its methods are safe for concurrent
// use.
type Upstream interface {
	// Answered returns a channel that is closed once the agent has said which the
	// instances are.
	Answered() <-chan struct{}
	// Instances returns how many there are; zero before that.
	Instances() int
	// Dial connects to one of them, as a listener.DialFunc does.
	Dial(ctx context.Context) (listener.Target, error)
	// Close ends the upstream. Its connections go on.
	Close()
}

// Upstreams are the destinations in use. Its methods are safe for concurrent use.
type Upstreams struct {
	open func(config.Destination) (Upstream, error)
	// probing holds a token for each new name that the agent is asked about.
	probing chan struct{}

	mu      sync.Mutex // guards what follows
	closed  bool
	entries map[config.Destination]*entry
	kept    int                              // how many of them have an instance
	absent  map[config.Destination]time.Time // until when each is refused
	budget  bucket                           // of absent names
	ended   []*entry                         // to be closed once mu is free
}

// entry is a destination in use, or one that the agent is being asked about.
type entry struct {
	Upstream
	to    config.Destination
	users int // dials and connections
	used  time.Time
	// kept is set once the agent has shown an instance: before that an entry takes
	// none of the places.
	kept bool
	// gone is why it is no longer among the entries; nil while it is. removed is
	// closed when it is set. The upstream is closed with its last user then.
	gone    error
	removed chan struct{}
}

// New makes Upstreams, each of which is opened by open. open must not block, and
// must not call the Upstreams' methods: it is called with their lock held. Its
// errors are those of Target.
func New(open func(config.Destination) (Upstream, error)) *Upstreams {
	return &Upstreams{
		open:    open,
		probing: make(chan struct{}, maxProbes),
		entries: make(map[config.Destination]*entry),
		absent:  make(map[config.Destination]time.Time),
		budget:  bucket{rate: absentRate, burst: absentBurst},
	}
}

// Target connects to an instance of d, which is opened as an upstream if it is not
// yet; that takes FirstAnswer longer at most. It is a listener.DialFunc once d is
// given. An error has a listener.Reason where it is one of this package's and not
// ErrClosed, and where the dial gave it one.
func (u *Upstreams) Target(ctx context.Context, d config.Destination) (listener.Target, error) {
	e, err := u.acquire(ctx, d)
	if err != nil {
		return listener.Target{}, reasoned(d, err)
	}
	t, err := e.Dial(ctx)
	if err != nil {
		u.release(e)
		return listener.Target{}, err
	}
	return u.counted(e, t), nil
}

// keep gives e a place among those that are kept, if it has an instance.
func (u *Upstreams) keep(e *entry) error {
	u.mu.Lock()
	defer u.unlock()
	switch {
	case e.gone != nil && !e.kept:
		return e.gone
	case e.kept:
		return nil
	case e.Instances() == 0:
		now := time.Now()
		u.budget.take(now)
		u.forget(now)
		u.absent[e.to] = now.Add(RememberAbsent)
		u.remove(e, ErrUnknown)
		return ErrUnknown
	case u.kept >= MaxUpstreams && !u.makeRoom():
		u.remove(e, ErrFull)
		return ErrFull
	}
	e.kept = true
	u.kept++
	<-u.probing
	return nil
}

// release takes a user away. What is left of an entry without instances goes with
// its last one.
func (u *Upstreams) release(e *entry) {
	u.mu.Lock()
	defer u.unlock()
	e.users--
	e.used = time.Now()
	switch {
	case e.users > 0:
	case e.gone != nil:
		u.ended = append(u.ended, e)
	case !e.kept:
		u.remove(e, ErrUnanswered)
	}
}

// unlock closes what has ended meanwhile, which may take a moment.
func (u *Upstreams) unlock() {
	ended := u.ended
	u.ended = nil
	u.mu.Unlock()
	for _, e := range ended {
		e.Close()
	}
}

// The rest is called with mu held.

// makeRoom has the entry give way that was not used for longest, and reports
// whether there is one that can.
func (u *Upstreams) makeRoom() bool {
	var oldest *entry
	for _, e := range u.entries {
		if e.kept && e.users == 0 && (oldest == nil || e.used.Before(oldest.used)) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	u.remove(oldest, ErrClosed)
	return true
}

// remove takes e out, which is closed once it has no user.
func (u *Upstreams) remove(e *entry, why error) {
	delete(u.entries, e.to)
	e.gone = why
	close(e.removed)
	if e.kept {
		u.kept--
	} else {
		<-u.probing
	}
	if e.users == 0 {
		u.ended = append(u.ended, e)
	}
}

// forget drops names whose time is over.
func (u *Upstreams) forget(now time.Time) {
	for d, until := range u.absent {
		if !now.Before(until) {
			delete(u.absent, d)
		}
	}
}
