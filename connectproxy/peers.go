package connectproxy

import "connect-proxy/listener"

// publicPeers are the peers of every public listener, those among them that
// take no new connections: an intention ends those too.
type publicPeers struct{ p *Proxy }

var _ livePeers = publicPeers{}

func (v publicPeers) listeners() []*listener.Listener {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	var out []*listener.Listener
	add := func(m *member) {
		if ln := m.listener(); ln != nil && m.wants().key.role == rolePublic {
			out = append(out, ln)
		}
	}
	for _, m := range v.p.members {
		add(m)
	}
	for _, m := range v.p.leaving {
		add(m)
	}
	return out
}

// Peers lists the distinct identities that have a connection.
func (v publicPeers) Peers() []string {
	seen := make(map[string]bool)
	var out []string
	for _, ln := range v.listeners() {
		for _, peer := range ln.Peers() {
			if !seen[peer] {
				seen[peer] = true
				out = append(out, peer)
			}
		}
	}
	return out
}

// ClosePeers cuts the connections of every identity that matches.
func (v publicPeers) ClosePeers(match func(peer string) bool, r listener.Reason) int {
	n := 0
	for _, ln := range v.listeners() {
		n += ln.ClosePeers(match, r)
	}
	return n
}
