package listener

// Idle is how many goroutines wait for the next connection.
func (l *Listener) Idle() int { return int(l.crew.idle.Load()) }

// Waiting is how many connections wait for their authorization.
func (l *Listener) Waiting() int {
	l.conns.mu.Lock()
	defer l.conns.mu.Unlock()
	return l.conns.judged.n
}
