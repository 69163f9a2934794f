package byname

import (
	"io"
	"net"
	"time"
)

const (
	// answerTime bounds writing an answer that is the last thing said.
	answerTime = 2 * time.Second
	// lingerTime and lingerBytes bound the wait for a client that is sending
	// something still: closing the socket under it would reset the connection,
	// and the reset could overtake the answer.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// say tells a client something, after which nothing is said any more.
func say(raw net.Conn, answer []byte) {
	if raw.SetWriteDeadline(time.Now().Add(answerTime)) != nil {
		return
	}
	if _, err := raw.Write(answer); err == nil {
		linger(raw)
	}
}

// linger waits a moment for the client to end its side.
func linger(raw net.Conn) {
	half, ok := raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || raw.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, raw, lingerBytes)
}
