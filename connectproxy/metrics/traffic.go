package metrics

import (
	"sync"
	"time"

	"connect-proxy/listener"
)

// Direction says which way the connections of a listener go.
type Direction string

const (
	// Inbound connections come from other proxies and go to the application.
	Inbound Direction = "inbound"
	// Outbound connections come from the application and go to other proxies.
	Outbound Direction = "outbound"
)

// Destination is where a listener leads to, as it is configured: the proxy's own
// service for Inbound. An empty Namespace, Partition or Datacenter means the
// proxy's own, and the zero value that the destination is not known.
type Destination struct {
	Service, Namespace, Partition, Datacenter string
}

// Opened is what is known of a connection when it opens or ends.
type Opened struct {
	// ID is unique among the connections of the process.
	ID uint64
	// Peer is the SPIFFE ID that the other side in the mesh proved; empty where
	// it proved none.
	Peer string
	// TLSVersion is a version as crypto/tls numbers it; zero if unknown.
	TLSVersion uint16
	// Resumed is set where the TLS session was resumed by a ticket.
	Resumed bool
	// Handshake and Dial are how long these steps took; zero for a step that was
	// not taken or did not succeed.
	Handshake, Dial time.Duration
}

// Ended is how a connection ended.
type Ended struct {
	Opened
	// Reason is why it ended, or was refused.
	Reason listener.Reason
	// Duration is the time since it was accepted.
	Duration time.Duration
}

// series is one set of labels of traffic.
type series struct {
	direction Direction
	peer      peerLabels // the other side in the mesh
	// to is the destination as it is configured.
	to Destination
}

// traffic counts connections by their series.
type traffic struct {
	peers peerSet

	mu      sync.RWMutex // guards what follows
	tallies map[series]*tally
	// open has the series under which each open connection was counted: another
	// instance may serve it in the end.
	open map[uint64]*tally
}

func newTraffic() *traffic {
	return &traffic{tallies: make(map[series]*tally), open: make(map[uint64]*tally)}
}

func (m *Metrics) tally(d Direction, to Destination, peerID string) *tally {
	t := m.traffic
	s := series{direction: d, peer: t.peers.named(peerID), to: t.boundedDestination(to)}
	t.mu.RLock()
	found := t.tallies[s]
	t.mu.RUnlock()
	if found != nil {
		return found
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if found = t.tallies[s]; found == nil {
		found = m.newTally(s)
		t.tallies[s] = found
	}
	return found
}

// boundedDestination keeps configurations that come and go from adding series
// for ever.
func (t *traffic) boundedDestination(d Destination) Destination {
	if d == (Destination{}) {
		return d
	}
	p := t.peers.bounded(peerLabels{service: d.Service, namespace: d.Namespace, partition: d.Partition, datacenter: d.Datacenter, trustDomain: "configured"})
	return Destination{Service: p.service, Namespace: p.namespace, Partition: p.partition, Datacenter: p.datacenter}
}

// snapshot lists what has been counted.
func (t *traffic) snapshot() map[series]*tally {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[series]*tally, len(t.tallies))
	for s, n := range t.tallies {
		all[s] = n
	}
	return all
}
