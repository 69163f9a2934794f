package dynamic

import (
	"errors"
	"time"
)

// CloseIdle closes the destinations that have not been used for IdleTime as of now. It
// is to be called every few seconds.
func (u *Upstreams) CloseIdle(now time.Time) {
	u.mu.Lock()
	defer u.unlock()
	u.forget(now)
	for _, e := range u.entries {
		if e.kept && e.users == 0 && now.Sub(e.used) >= IdleTime {
			u.remove(e, ErrClosed)
		}
	}
}

// Reset forgets every destination, so that it is opened anew for the next
// connection, as after a change of the configuration. Open connections go on, and
// a Target that is waiting for the agent's answer opens its destination anew.
func (u *Upstreams) Reset() {
	u.mu.Lock()
	defer u.unlock()
	u.removeAll(errReset)
}

// errReset makes acquire try again; nobody else sees it.
var errReset = errors.New("the destinations were reset")

// removeAll is called with mu held.
func (u *Upstreams) removeAll(why error) {
	for _, e := range u.entries {
		u.remove(e, why)
	}
	clear(u.absent)
}

// Close forgets every destination as Reset does, and has Target return ErrClosed
// from then on. Open connections go on, and close their upstream with the last.
func (u *Upstreams) Close() {
	u.mu.Lock()
	defer u.unlock()
	u.closed = true
	u.removeAll(ErrClosed)
}
