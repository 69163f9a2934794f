package listenertest

import (
	"fmt"
	"slices"
	"sync"
)

// Peers are connections that are open, one for each name in them, and are
// closed for a reason of type R: a listener's table without the listener. They
// are safe for any goroutine.
type Peers[R fmt.Stringer] struct {
	mu     sync.Mutex // guards what follows
	open   []string
	closed []string
}

// NewPeers opens a connection for each name.
func NewPeers[R fmt.Stringer](names ...string) *Peers[R] { return &Peers[R]{open: names} }

// Peers are the names with an open connection.
func (p *Peers[R]) Peers() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.open)
}

// ClosePeers closes the connections whose name matches, and returns how many
// those were.
func (p *Peers[R]) ClosePeers(match func(name string) bool, reason R) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.open)
	p.open = slices.DeleteFunc(p.open, func(name string) bool {
		if !match(name) {
			return false
		}
		p.closed = append(p.closed, name+" "+reason.String())
		return true
	})
	return before - len(p.open)
}

// Closed says of each connection that was closed its name and the reason.
func (p *Peers[R]) Closed() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.closed)
}
