package logwriter

import (
	"io"
	"time"
)

// StartWriter begins to write to any io.Writer, one call for each line, by one
// goroutine. A call that blocks holds that goroutine alone; Close leaves it behind.
func StartWriter(to io.Writer, o Options) *Writer { return start(stream{to}, o) }

// Another starts a further Writer to what w writes to, with a queue of its own, so
// that neither takes room from the other. It is to be closed by itself.
func (w *Writer) Another(o Options) *Writer {
	if d, ok := w.to.(*namedFile); ok {
		return StartPath(d.path, o)
	}
	return start(w.to, o)
}

// stream is an output of which nothing is known.
type stream struct{ w io.Writer }

var _ output = stream{}

func (s stream) write(p []byte, _ time.Duration) (int, error) { return s.w.Write(p) }
func (stream) together() int                                  { return 0 }
func (stream) gone(error) bool                                { return false }
