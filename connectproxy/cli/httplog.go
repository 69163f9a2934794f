package cli

import (
	"bytes"
	"io"
)

// httpLog is where net/http's client logs, in lines. What it quotes of a service
// that has said something unasked is left out: it may be a part of an answer.
type httpLog struct{ to io.Writer }

var unasked = []byte("Unsolicited response received on idle HTTP channel")

// Write is io.Writer's.
func (l httpLog) Write(line []byte) (int, error) {
	i := bytes.Index(line, unasked)
	if i < 0 {
		return l.to.Write(line)
	}
	if _, err := l.to.Write(append(line[:i+len(unasked):i+len(unasked)], '\n')); err != nil {
		return 0, err
	}
	return len(line), nil
}
