package listener

import "time"

// Idle is how many goroutines wait for the next connection.
func (l *Listener) Idle() int { return int(l.workers.idle.Load()) }

// Waiting is how many connections wait for their authorization.
func (l *Listener) Waiting() int {
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	return l.conns.authorizations.n
}

// LookForBrokenConnections sets how often that is done. It is called before Run.
func (l *Listener) LookForBrokenConnections(every time.Duration) { l.brokenEvery = every }
