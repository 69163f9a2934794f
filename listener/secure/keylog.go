package secure

import (
	"bytes"
	"encoding/hex"
	"sync"
)

// keyLog receives the secrets of handshakes from crypto/tls, which offers them
// in no other way, and leaves each with its connection. It is shared by all
// configurations of a role, since a Config of its own for each connection
// would cost more than the bookkeeping here and would end session resumption.
//
// A connection is known by its client random, and a client chooses that
// freely. Were two handshakes to share one, a stranger could have the secrets
// of his own handshake, which he knows, put in place of another connection's.
// So the roles are kept apart (our own randoms are never a stranger's choice),
// and where two handshakes of one role meet under one random neither gets any
// secret: both go on with crypto/tls alone.
type keyLog struct {
	mu       sync.Mutex
	byRandom map[[randomLen]byte]*shaking // handshakes under way
}

// shaking are the handshakes under way with one client random.
type shaking struct {
	wire  *wire // nil once there has been more than one
	count int
}

var (
	serverSecrets = &keyLog{byRandom: make(map[[randomLen]byte]*shaking)}
	clientSecrets = &keyLog{byRandom: make(map[[randomLen]byte]*shaking)}

	labelClient = []byte("CLIENT_TRAFFIC_SECRET_0 ")
	labelServer = []byte("SERVER_TRAFFIC_SECRET_0 ")
)

func (k *keyLog) expect(w *wire) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.byRandom[w.random]
	if s == nil {
		k.byRandom[w.random] = &shaking{wire: w, count: 1}
		return
	}
	if s.wire != nil {
		s.wire.clientSecret, s.wire.serverSecret = nil, nil
		s.wire = nil
	}
	s.count++
}

func (k *keyLog) forget(w *wire) {
	if !w.named {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.byRandom[w.random]; s != nil {
		if s.count--; s.count == 0 {
			delete(k.byRandom, w.random)
		}
	}
}

// Write takes one line in the NSS key log format: label, client random and
// secret, the last two in hexadecimal. What it does not know it drops.
func (k *keyLog) Write(line []byte) (int, error) {
	rest, client := bytes.CutPrefix(line, labelClient)
	if !client {
		var server bool
		if rest, server = bytes.CutPrefix(line, labelServer); !server {
			return len(line), nil
		}
	}
	if len(rest) < 2*randomLen+2 {
		return len(line), nil
	}
	var random [randomLen]byte
	if _, err := hex.Decode(random[:], rest[:2*randomLen]); err != nil {
		return len(line), nil
	}
	secret, err := hex.AppendDecode(make([]byte, 0, 48), bytes.TrimRight(rest[2*randomLen+1:], "\n"))
	if err != nil {
		return len(line), nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.byRandom[random]; s != nil && s.wire != nil {
		if client {
			s.wire.clientSecret = secret
		} else {
			s.wire.serverSecret = secret
		}
	}
	return len(line), nil
}
