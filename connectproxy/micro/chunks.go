package micro

import (
	"io"
	"net/http/httputil"
)

// chunks writes a body whose length is not known.
type chunks struct {
	io.WriteCloser
	w io.Writer
}

func newChunks(w io.Writer) chunks { return chunks{httputil.NewChunkedWriter(w), w} }

// Close ends the body, which has no trailer.
func (c chunks) Close() error {
	if err := c.WriteCloser.Close(); err != nil {
		return err
	}
	_, err := io.WriteString(c.w, "\r\n")
	return err
}
