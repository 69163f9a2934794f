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

// reply sends a client its last answer.
func reply(raw net.Conn, answer []byte) {
	if raw.SetWriteDeadline(time.Now().Add(answerTime)) != nil {
		return
	}
	if _, err := raw.Write(answer); err == nil {
		awaitClientEnd(raw)
	}
}

// awaitClientEnd ends our side and waits a moment for the client to end its own.
func awaitClientEnd(raw net.Conn) {
	half, ok := raw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || raw.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, raw, lingerBytes)
}
