package connectproxy

import (
	"connect-proxy/connectproxy/authorize"
	"connect-proxy/listener"
)

// publicPeers are the peers of every public listener, those among them that
// take no new connections: an intention ends those too.
type publicPeers struct{ p *Proxy }

var _ authorize.Peers = publicPeers{}

func (v publicPeers) listeners() []*listener.Listener {
	var out []*listener.Listener
	for _, b := range v.p.published.Load().all() {
		if ln := b.listener(); ln != nil && b.public() {
			out = append(out, ln)
		}
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
