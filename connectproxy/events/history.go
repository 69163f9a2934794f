package events

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// keep is how many events of each kind are kept.
const keep = 128

// History keeps the last events of each kind. It is safe for concurrent use.
type History struct {
	now func() time.Time

	mu    sync.Mutex
	last  uint64
	rings map[Kind]*ring
}

var _ hclog.SinkAdapter = (*History)(nil)

// ring holds the last events of a kind; next is where the following one goes.
type ring struct {
	events []Event
	next   int
}

// New makes an empty History.
func New() *History {
	return &History{now: time.Now, rings: make(map[Kind]*ring)}
}

// Accept is hclog.SinkAdapter's: it notes a line that tells of an event.
func (h *History) Accept(_ string, level hclog.Level, message string, args ...any) {
	if level < hclog.Info || !wanted(message, args) {
		return
	}
	kind, ok := kinds[message]
	if !ok {
		kind = Proxy
	}
	e := Event{Time: h.now().UTC(), Kind: kind, Level: level.String(), Message: clean(message), Fields: fields(args)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	e.ID = h.last
	r := h.rings[kind]
	if r == nil {
		r = &ring{}
		h.rings[kind] = r
	}
	r.add(e)
}

// wanted leaves out connections that ended as they should or for a reason of
// their own: they are not news.
func wanted(message string, args []any) bool {
	if message != "connection closed" {
		return true
	}
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "reason" {
			return args[i+1] == "intention_revoked"
		}
	}
	return false
}

func (r *ring) add(e Event) {
	if len(r.events) < keep {
		r.events = append(r.events, e)
		return
	}
	r.events[r.next] = e
	r.next = (r.next + 1) % keep
}

// Since returns the events kept that are newer than the one with that ID, oldest
// first; 0 stands for all of them.
func (h *History) Since(id uint64) []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []Event{}
	for _, r := range h.rings {
		for _, e := range r.events {
			if e.ID > id {
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.ID, b.ID) })
	return all
}
