package listener

// Connection is an open connection as it is at one moment.
type Connection struct {
	// Open is what is known of it. Instance, and the times that steps took, are
	// empty until it is relayed.
	Open
	// Phase is "handshake", "authorization", "dial", "relay", or "serve" where
	// the client's Request is served in place of a far side.
	Phase string
	// ToUpstream and ToClient are the application's bytes so far.
	ToUpstream, ToClient int64
}

// Connections lists the connections that are open, in no order.
func (l *Listener) Connections() []Connection { return l.conns.list() }

// CloseConnection ends the connection with that Open.ID, for the reason r, and
// reports whether it is one of this listener's.
func (l *Listener) CloseConnection(id uint64, r Reason) bool { return l.conns.closeOne(id, r) }

// CloseConnections ends the connections that match, as they were a moment before, for
// the reason r, and returns how many these are.
func (l *Listener) CloseConnections(match func(Connection) bool, r Reason) int {
	return l.conns.closeMatching(match, r)
}

func (t *tracker) list() []Connection {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Connection, 0, t.live)
	for _, head := range t.byPeer {
		for c := head; c != nil; c = c.next {
			all = append(all, c.snapshot())
		}
	}
	return all
}

// snapshot describes the connection. The caller holds tracker.mu: what the
// connection's goroutine wrote before it entered the phase is seen here, and
// what it may write in the phase is not read.
func (c *conn) snapshot() Connection {
	switch c.phase.(type) {
	case handshaking:
		return Connection{Open: c.accepted(), Phase: "handshake"}
	case *authorizing:
		return Connection{Open: c.accepted(), Phase: "authorization"}
	case *dialing, *calling:
		return Connection{Open: c.accepted().withRequest(c), Phase: "dial"}
	case *hosting:
		return Connection{Open: c.accepted().withRequest(c), Phase: "serve"}
	}
	return Connection{
		Open: c.open(), Phase: "relay",
		ToUpstream: c.bytes.ToUpstream(), ToClient: c.bytes.ToClient(),
	}
}

// accepted is open for a connection that is not relayed yet.
func (c *conn) accepted() Open {
	return Open{
		ID: c.id, Listener: c.o.Name, Start: c.start, Client: c.client, Local: c.local,
		SessionInfo: SessionInfo{Peer: c.peer},
	}
}

// withRequest adds what c's client has asked for.
func (o Open) withRequest(c *conn) Open {
	o.Destination, o.User = c.requested()
	return o
}

// closeMatching calls match without the lock, since it belongs to somebody else.
func (t *tracker) closeMatching(match func(Connection) bool, r Reason) int {
	matching := make(map[uint64]bool)
	for _, c := range t.list() {
		if match(c) {
			matching[c.ID] = true
		}
	}
	if len(matching) == 0 {
		return 0
	}
	t.mu.Lock()
	why := &connError{reason: r}
	var ending []phase
	for _, head := range t.byPeer {
		for c := head; c != nil; c = c.next {
			if matching[c.id] {
				ending = c.close(why, ending)
			}
		}
	}
	t.mu.Unlock()
	abortAll(ending)
	return len(ending)
}

func (t *tracker) closeOne(id uint64, r Reason) bool {
	t.mu.Lock()
	var ending []phase
	found := false
	for _, head := range t.byPeer {
		for c := head; c != nil && !found; c = c.next {
			if c.id == id {
				found = true
				ending = c.close(&connError{reason: r}, ending)
			}
		}
	}
	t.mu.Unlock()
	abortAll(ending)
	return found
}
