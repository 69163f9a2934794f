package secure

import (
	"bytes"
	"encoding/hex"
	"sync"
)

// secrets is the KeyLogWriter of every prepared Config.
var secrets = &keyLog{byRandom: make(map[[randomLen]byte]*wire)}

// keyLog receives the secrets of handshakes from crypto/tls, which offers them
// in no other way, and leaves each with its connection. It is shared by all
// configurations, since a Config of its own for each connection would cost
// more than the handshake's bookkeeping and would end session resumption. A
// connection is known by its client random; the map holds only handshakes
// that are under way.
type keyLog struct {
	mu       sync.Mutex
	byRandom map[[randomLen]byte]*wire
}

var (
	labelClient = []byte("CLIENT_TRAFFIC_SECRET_0 ")
	labelServer = []byte("SERVER_TRAFFIC_SECRET_0 ")
)

func (k *keyLog) expect(w *wire) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, taken := k.byRandom[w.random]; taken {
		// Two handshakes with one random: both ends of one connection in the
		// same process, or a peer that repeats itself. Neither can be told from
		// the other here, so the later one keeps to crypto/tls.
		w.random = [randomLen]byte{}
		return
	}
	k.byRandom[w.random] = w
}

func (k *keyLog) forget(w *wire) {
	if !w.named {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byRandom[w.random] == w {
		delete(k.byRandom, w.random)
	}
}

// Write takes one line in the NSS key log format: label, client random and
// secret, the last two in hexadecimal.
func (k *keyLog) Write(line []byte) (int, error) {
	var client bool
	rest, ok := bytes.CutPrefix(line, labelClient)
	if ok {
		client = true
	} else if rest, ok = bytes.CutPrefix(line, labelServer); !ok {
		return len(line), nil
	}
	var random [randomLen]byte
	if len(rest) < 2*randomLen+2 {
		return len(line), nil
	}
	if _, err := hex.Decode(random[:], rest[:2*randomLen]); err != nil {
		return len(line), nil
	}
	secret := make([]byte, 0, 48)
	secret, err := hex.AppendDecode(secret, bytes.TrimRight(rest[2*randomLen+1:], "\n"))
	if err != nil {
		return len(line), nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.byRandom[random]; w != nil {
		if client {
			w.clientSecret = secret
		} else {
			w.serverSecret = secret
		}
	}
	return len(line), nil
}
