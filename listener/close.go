package listener

// closePeers ends the connections of every identity that matches.
func (t *tracker) closePeers(match func(peer string) bool, r Reason) int {
	// match runs without the lock: it belongs to somebody else. An identity
	// that registers meanwhile is authorized later than this call began.
	var gone []string
	for _, peer := range t.peers() {
		if match(peer) {
			gone = append(gone, peer)
		}
	}
	if len(gone) == 0 {
		return 0
	}
	t.mu.Lock()
	var ending []phase
	for _, peer := range gone {
		ending = closeList(t.byPeer[peer], &connError{reason: r}, ending)
	}
	t.mu.Unlock()
	abortAll(ending)
	return len(ending)
}

// closeAll ends every connection there is and every one that will be added.
func (t *tracker) closeAll(r Reason) int {
	t.mu.Lock()
	t.ending = &connError{reason: r}
	var ending []phase
	for _, head := range t.byPeer {
		ending = closeList(head, t.ending, ending)
	}
	t.mu.Unlock()
	abortAll(ending)
	return len(ending)
}

// end ends one connection.
func (t *tracker) end(c *conn, why *connError) {
	t.mu.Lock()
	ending := c.close(why, nil)
	t.mu.Unlock()
	abortAll(ending)
}

// closeList marks the connections of a list that are not to end already, and
// appends what has to be aborted once the lock is released.
func closeList(c *conn, why *connError, ending []phase) []phase {
	for ; c != nil; c = c.next {
		ending = c.close(why, ending)
	}
	return ending
}

// close is closeList for one connection. The caller holds tracker.mu.
func (c *conn) close(why *connError, ending []phase) []phase {
	if c.closing != nil {
		return ending
	}
	c.closing = why
	return append(ending, c.phase)
}

func abortAll(ending []phase) {
	for _, p := range ending {
		p.abort()
	}
}
