package micro

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
)

const (
	// maxHeld bounds what the bodies of all strangers' calls and their answers have
	// together, in bytes. A call keeps both in memory, and a slow client does so for
	// long.
	maxHeld = 64 << 20
	// freeOfEach is what does not count of each call, in bytes: short ones are taken
	// whatever others hold.
	freeOfEach = 8 << 10
)

// memory is what may be held; the zero value has it all left.
type memory struct {
	mu     sync.Mutex // guards what follows
	held   int64
	byAddr map[netip.Addr]int64 // those that hold some
}

// share is what one call has of memory. It is not for concurrent use.
type share struct {
	of   *memory
	from netip.Addr
	size int64
}

// take adds n bytes, or reports that there is no room for them.
func (s *share) take(n int) bool {
	before := max(0, s.size-freeOfEach)
	more := max(0, s.size+int64(n)-freeOfEach) - before
	if !s.of.add(s.from, more) {
		return false
	}
	s.size += int64(n)
	return true
}

// free gives all of it back.
func (s *share) free() {
	s.of.add(s.from, -max(0, s.size-freeOfEach))
	s.size = 0
}

// add adds n bytes to what the calls of an address hold, unless these come to more
// than half of what would be left: an address can hold a third of it all, and leaves
// something to any other.
func (m *memory) add(from netip.Addr, n int64) bool {
	if n == 0 {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.byAddr[from] + n
	switch {
	case n > 0 && 2*own > maxHeld-(m.held+n):
		return false
	case own == 0:
		delete(m.byAddr, from)
	case m.byAddr == nil:
		m.byAddr = map[netip.Addr]int64{from: own}
	default:
		m.byAddr[from] = own
	}
	m.held += n
	return true
}

// shared is a body that is kept while it is read.
type shared struct {
	io.ReadCloser
	share *share
}

func (b *shared) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.share.take(n) {
		return 0, errBusy
	}
	return n, err
}

// holding has a body that is kept count among what a stranger's call holds.
func holding(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	if p, ok := w.(*publicWriter); ok {
		return &shared{body, p.share}
	}
	return body
}

// unread is for a request whose body has not been read.
func unread(err error) *failure {
	if errors.Is(err, errBusy) {
		return busy
	}
	return badRequest(err)
}

var (
	errBusy = errors.New("too much is under way for a call of this size: try again later")
	busy    = &failure{http.StatusServiceUnavailable, "busy", errBusy}
)
