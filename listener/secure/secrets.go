package secure

import (
	"bytes"
	"encoding/hex"
)

// secrets receives the traffic secrets of one connection from crypto/tls, which
// offers them through Config.KeyLogWriter alone. Every connection has a
// configuration of its own with a secrets of its own, so that nothing which a
// peer sends decides whose secrets these are.
type secrets struct {
	client, server []byte
	// doubtful is set when a label comes twice or a line cannot be read: what
	// crypto/tls then means by its lines is not known here.
	doubtful bool
}

var (
	labelClient = []byte("CLIENT_TRAFFIC_SECRET_0 ")
	labelServer = []byte("SERVER_TRAFFIC_SECRET_0 ")
)

// Write takes one line in the NSS key log format: label, client random and
// secret, the last two in hexadecimal. Lines with other labels are dropped. It
// never fails, since an error would end the handshake.
func (s *secrets) Write(line []byte) (int, error) {
	if rest, ok := bytes.CutPrefix(line, labelClient); ok {
		s.keep(&s.client, rest)
	} else if rest, ok := bytes.CutPrefix(line, labelServer); ok {
		s.keep(&s.server, rest)
	}
	return len(line), nil
}

func (s *secrets) keep(to *[]byte, rest []byte) {
	_, digits, ok := bytes.Cut(bytes.TrimRight(rest, "\n"), []byte(" "))
	secret, err := hex.AppendDecode(make([]byte, 0, 48), digits)
	if *to != nil || !ok || err != nil || len(secret) == 0 {
		s.doubtful = true
		return
	}
	*to = secret
}

// complete reports whether both secrets are known, beyond doubt, and n bytes
// long.
func (s *secrets) complete(n int) bool {
	return len(s.client) == n && len(s.server) == n && !s.doubtful
}

// forget overwrites the secrets.
func (s *secrets) forget() {
	clear(s.client)
	clear(s.server)
	s.client, s.server = nil, nil
}
