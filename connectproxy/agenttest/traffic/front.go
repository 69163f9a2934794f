package traffic

import (
	"net/http"
	"sync"
)

// Front counts requests and passes them on, unless there is a fault for them.
// It is safe for any goroutine.
type Front struct {
	next http.Handler

	mu     sync.Mutex
	counts map[Endpoint]Counts
	faults map[Endpoint]*Fault
	// healed is closed, and made anew, when a fault is taken back.
	healed chan struct{}
	closed bool
}

// Counts are of the requests to one endpoint.
type Counts struct {
	// Requests have begun, Held have not ended yet, and MostHeld is the most
	// that were held at a time.
	Requests, Held, MostHeld int
	// Token, Path and RawQuery are the last request's.
	Token, Path, RawQuery string
}

var _ http.Handler = (*Front)(nil)

// New stands in front of next.
func New(next http.Handler) *Front {
	return &Front{
		next:   next,
		counts: map[Endpoint]Counts{},
		faults: map[Endpoint]*Fault{},
		healed: make(chan struct{}),
	}
}

// ServeHTTP counts the request and lets it happen.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := Of(r.URL.Path)
	fault, healed := f.begin(e, r)
	defer f.end(e)
	if fault.strike(w, r, healed) {
		return
	}
	f.next.ServeHTTP(w, r)
}

func (f *Front) begin(e Endpoint, r *http.Request) (Fault, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range []Endpoint{e, All} {
		c := f.counts[e]
		c.Requests++
		c.Held++
		c.MostHeld = max(c.MostHeld, c.Held)
		c.Token, c.Path, c.RawQuery = r.Header.Get("X-Consul-Token"), r.URL.Path, r.URL.RawQuery
		f.counts[e] = c
	}
	if f.closed {
		return Fault{Cut: true}, f.healed
	}
	for _, e := range []Endpoint{e, All} {
		fault := f.faults[e]
		if fault == nil {
			continue
		}
		now := *fault
		if fault.Left > 0 {
			if fault.Left--; fault.Left == 0 {
				delete(f.faults, e)
			}
		}
		return now, f.healed
	}
	return Fault{}, f.healed
}

func (f *Front) end(e Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range []Endpoint{e, All} {
		c := f.counts[e]
		c.Held--
		f.counts[e] = c
	}
}

// Fail has the fault happen to every further request to the endpoint, instead
// of any fault set before. One for All is for endpoints without their own.
func (f *Front) Fail(e Endpoint, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[e] = &fault
}

// Heal takes back the faults of these endpoints, or every fault if none is
// named, and lets go all requests that hang.
func (f *Front) Heal(endpoints ...Endpoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(endpoints) == 0 {
		clear(f.faults)
	}
	for _, e := range endpoints {
		delete(f.faults, e)
	}
	f.release()
}

// Close lets go what hangs and cuts every request from now on.
func (f *Front) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.release()
}

// release is called with the lock held.
func (f *Front) release() {
	close(f.healed)
	f.healed = make(chan struct{})
}

// Counts are those of one endpoint, or of All.
func (f *Front) Counts(e Endpoint) Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[e]
}

// Requests is how many requests to the endpoint have begun.
func (f *Front) Requests(e Endpoint) int { return f.Counts(e).Requests }

// ResetCounts starts counting anew; what is held now stays counted as held.
func (f *Front) ResetCounts() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e, c := range f.counts {
		f.counts[e] = Counts{Held: c.Held, MostHeld: c.Held}
	}
}
