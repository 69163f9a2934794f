package catalog

import (
	"encoding/json"
	"hash/maphash"

	"github.com/hashicorp/consul/api"
)

// listed is what is kept of one entry of an answer. It does not change.
type listed struct {
	// id is empty for an entry without a node or a service.
	id     string
	state  checksState
	placed placedEndpoint
	// problem says why it cannot be dialled; empty if it can.
	problem string
}

// entryCache reads a service's entries, and keeps what it has made of each: most of
// an answer says the same as the last one did, word for word.
type entryCache struct {
	seed  maphash.Seed
	known map[uint64]*knownEntry // by the hash of an entry's JSON
	turn  uint64
	count int // of entries read in this turn
}

type knownEntry struct {
	listed
	turn uint64 // that it was last in
}

// begin is called before the answers to one question, and end after them, which
// forgets what was in none of them, unless nothing was read.
func (m *entryCache) begin() {
	if m.known == nil {
		m.seed, m.known = maphash.MakeSeed(), make(map[uint64]*knownEntry)
	}
	m.turn, m.count = m.turn+1, 0
}

func (m *entryCache) end() {
	if m.count == 0 {
		return
	}
	for hash, e := range m.known {
		if e.turn != m.turn {
			delete(m.known, hash)
		}
	}
}

// read returns what an entry's JSON says, by of where it is not known.
func (m *entryCache) read(text []byte, of func(*api.ServiceEntry) listed) (*listed, error) {
	hash := maphash.Bytes(m.seed, text)
	e := m.known[hash]
	if e == nil {
		var decoded *api.ServiceEntry
		if err := json.Unmarshal(text, &decoded); err != nil {
			return nil, err
		}
		e = &knownEntry{listed: of(decoded)}
		m.known[hash] = e
	}
	e.turn = m.turn
	m.count++
	return &e.listed, nil
}

// forget has everything read anew.
func (m *entryCache) forget() { clear(m.known) }
