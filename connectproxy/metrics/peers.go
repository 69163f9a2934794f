package metrics

import (
	"net/url"
	"strings"
	"sync"
)

const (
	// maxPeers is how many services of the mesh have labels of their own.
	maxPeers = 200
	// otherPeer stands for all the others.
	otherPeer = "other"
	// defaultName is Consul's namespace and partition where none is named.
	defaultName = "default"
)

// peerLabels is a service of the mesh, as labels name it.
type peerLabels struct {
	service, namespace, partition, datacenter, trustDomain string
}

// parsePeer reads a SPIFFE ID that has been verified: pairs of kind and name
// (Consul's agent/connect/uri_service.go). One that is none gives a zero peer.
func parsePeer(id string) peerLabels {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	if !ok || strings.Contains(id, " ") {
		return peerLabels{}
	}
	parts := strings.Split(rest, "/")
	p := peerLabels{namespace: defaultName, partition: defaultName, trustDomain: parts[0]}
	for i := 1; i+1 < len(parts); i += 2 {
		name, err := url.PathUnescape(parts[i+1])
		if err != nil {
			return peerLabels{}
		}
		switch parts[i] {
		case "ap":
			p.partition = name
		case "ns":
			p.namespace = name
		case "dc":
			p.datacenter = name
		case "svc":
			p.service = name
		}
	}
	if p.service == "" {
		return peerLabels{}
	}
	return p
}

// name is the service with its namespace, where that is not the default one.
func (p peerLabels) name() string {
	if p.service == "" || p.namespace == "" || p.namespace == defaultName {
		return p.service
	}
	return p.namespace + "/" + p.service
}

// peerSet bounds the peers that labels tell apart.
type peerSet struct {
	mu   sync.RWMutex // guards what follows
	seen map[peerLabels]bool
	// byID spares reading the SPIFFE IDs of seen peers again.
	byID map[string]peerLabels
}

// named returns the peer of a SPIFFE ID that was proved, or other where there are
// too many already.
func (s *peerSet) named(id string) peerLabels {
	if id == "" {
		return peerLabels{}
	}
	s.mu.RLock()
	p, ok := s.byID[id]
	s.mu.RUnlock()
	if ok {
		return p
	}
	p = s.bounded(parsePeer(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = make(map[string]peerLabels)
	}
	if len(s.byID) < maxPeers {
		s.byID[id] = p
	}
	return p
}

// bounded returns p, or other where there are too many already.
func (s *peerSet) bounded(p peerLabels) peerLabels {
	if p == (peerLabels{}) {
		return p
	}
	s.mu.RLock()
	known := s.seen[p]
	s.mu.RUnlock()
	if known {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[p] {
		return p
	}
	if len(s.seen) >= maxPeers {
		return peerLabels{service: otherPeer}
	}
	if s.seen == nil {
		s.seen = make(map[peerLabels]bool)
	}
	s.seen[p] = true
	return p
}
