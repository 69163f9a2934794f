package listener

// Idle is how many goroutines wait for the next connection.
func (l *Listener) Idle() int { return int(l.crew.idle.Load()) }
