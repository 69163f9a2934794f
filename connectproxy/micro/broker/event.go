package broker

import (
	"encoding/json"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of events, in bytes where they are no numbers or times: MaxBody of the
// body of one, MaxHeader of its header, and MaxName of a topic or a queue; MaxMemory
// of all in memory together, and MaxQueueSize of those that wait for one member, of
// which there are MaxQueue at most, each for MaxWait. Each field of a header counts
// as some more than its name and value: many short ones take much.
const (
	MaxBody      = 1 << 20
	MaxHeader    = 32 << 10
	MaxName      = 255
	MaxMemory    = 64 << 20
	MaxQueueSize = 4 << 20
	MaxQueue     = 64
	MaxWait      = 10 * time.Second
)

// headerTopic is Micro's header of the topic. v1Topic has been its name in Go
// Micro 1.
const (
	headerTopic = "Micro-Topic"
	v1Topic     = ":topic"
)

// Event is what is published to a topic. It must not be changed afterwards.
type Event struct {
	Topic string
	// Header has canonical keys, the topic among them once it is published.
	Header map[string]string
	Body   []byte
}

// frame is an event as Micro's HTTP broker and its websockets have it.
type frame struct {
	Header map[string]string
	Body   []byte
}

func (e *Event) frame() []byte {
	b, _ := json.Marshal(frame{e.Header, e.Body}) // of strings and bytes alone
	return b
}

// withTopic returns e with the topic in its header, and without what would make
// something else of it than an event: Connection, for one, could take the topic
// away again.
func (e *Event) withTopic() Event {
	h := make(map[string]string, len(e.Header)+1)
	for k, v := range e.Header {
		if k = textproto.CanonicalMIMEHeaderKey(k); !ofConnection[k] && !reserved[strings.TrimPrefix(k, "X-")] {
			h[k] = v
		}
	}
	h[headerTopic] = e.Topic
	return Event{e.Topic, h, e.Body}
}

// reserved are headers that say what a message of Micro is. Its servers read them
// with an X- before them too.
var reserved = map[string]bool{
	"Micro-Service": true, "Micro-Endpoint": true, "Micro-Method": true, "Micro-Stream": true, "Micro-Error": true,
	headerTopic: true, v1Topic: true,
}

func (e *Event) check() error {
	size := headerSize(e.Header)
	switch {
	case e.Topic == "":
		return ErrNoTopic
	case !nameable(e.Topic):
		return ErrName
	case len(e.Body) > MaxBody || size > MaxHeader:
		return ErrLong
	}
	return nil
}

// nameable reports whether s can be a topic or a queue.
func nameable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= MaxName
}

// held is an event in memory, for as long as somebody has yet to get it.
type held struct {
	Event
	text  func() []byte // its frame, which is made when a websocket gets it
	since time.Time
	size  int64
	left  atomic.Int64 // who has yet to get it, and who hands it out
	used  *atomic.Int64
}

// reserve takes memory for e, if there is any. The caller is one of those who have it.
func reserve(e Event, forWebsockets bool, used *atomic.Int64) (*held, bool) {
	h := &held{Event: e, since: time.Now(), used: used}
	h.size = int64(len(e.Body) + headerSize(e.Header) + overhead)
	if forWebsockets {
		h.text = sync.OnceValue(h.frame)
		h.size += h.size/3*4 + 4
	}
	h.left.Store(1)
	if used.Add(h.size) > MaxMemory {
		used.Add(-h.size)
		return nil, false
	}
	return h, true
}

const (
	// overhead is what an event takes besides its bytes, more or less.
	overhead = 512
	// ofField is the same of a field of its header.
	ofField = 64
)

// headerSize is how much memory a header takes, in bytes.
func headerSize(h map[string]string) (size int) {
	for k, v := range h {
		size += len(k) + len(v) + ofField
	}
	return size
}

// release says that one of those who have it is done with it.
func (h *held) release() {
	if h.left.Add(-1) == 0 {
		h.used.Add(-h.size)
	}
}

func (h *held) late() bool { return time.Since(h.since) > MaxWait }
