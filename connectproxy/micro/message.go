package micro

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"connect-proxy/config"
)

// Headers of Micro.
const (
	headerService  = "Micro-Service"
	headerEndpoint = "Micro-Endpoint"
	headerMethod   = "Micro-Method"
	headerID       = "Micro-Id"
	headerStream   = "Micro-Stream"
	headerError    = "Micro-Error"
	headerTopic    = "Micro-Topic"
	headerTimeout  = "Timeout"
)

// ofConnection are the headers that are about one connection and not about a
// message (RFC 9110 7.6.1), and those that say where its body ends, which are
// written anew.
var ofConnection = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Content-Length": true, "Expect": true, "Host": true,
}

// excluded returns which headers of h are not to be passed on.
func excluded(h http.Header) map[string]bool {
	named := h["Connection"]
	if len(named) == 0 {
		return ofConnection
	}
	all := make(map[string]bool, len(ofConnection)+len(named))
	for k := range ofConnection {
		all[k] = true
	}
	for _, list := range named {
		for name := range strings.SplitSeq(list, ",") {
			all[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return all
}

// message is a message to a service.
type message struct {
	to     config.Destination
	header http.Header
	// kept is the body, or its beginning.
	kept *bytes.Buffer
	// rest is what comes after kept; nil where kept is all.
	rest io.Reader
	// length is the length of the whole body, -1 if it is not known.
	length int64
}

// readMessage reads a message from a client as far as it is kept. It must be
// freed.
func readMessage(r *http.Request, body io.Reader) (*message, error) {
	m := &message{
		header: r.Header,
		kept:   buffers.Get().(*bytes.Buffer),
		length: r.ContentLength,
	}
	m.kept.Reset()
	if m.length > maxKept {
		m.rest = body
		return m, nil
	}
	n, err := m.kept.ReadFrom(io.LimitReader(body, maxKept+1))
	switch {
	case err != nil:
		m.free()
		return nil, err
	case n > maxKept:
		m.rest = body
	default:
		m.length = n
	}
	return m, nil
}

// free gives the message's memory back.
func (m *message) free() {
	if m.kept.Cap() <= 2*maxKept {
		buffers.Put(m.kept)
	}
}

// head returns the message up to the end of its header.
func (m *message) head(b *bytes.Buffer) {
	fmt.Fprintf(b, "POST / HTTP/1.1\r\nHost: %s\r\n", cmp.Or(m.header.Get(headerService), m.to.Name))
	if m.length >= 0 {
		b.WriteString("Content-Length: " + strconv.FormatInt(m.length, 10) + "\r\n")
	} else {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	_ = m.header.WriteSubset(b, excluded(m.header))
	b.WriteString("\r\n")
}

// writeTo writes the message. What is kept goes in one piece with the header.
func (m *message) writeTo(w io.Writer) error {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	m.head(b)
	if m.rest == nil {
		b.Write(m.kept.Bytes())
	}
	if _, err := w.Write(b.Bytes()); err != nil || m.rest == nil {
		return err
	}
	whole := io.MultiReader(bytes.NewReader(m.kept.Bytes()), m.rest)
	if m.length >= 0 {
		n, err := copyPooled(w, io.LimitReader(whole, m.length))
		if err == nil && n < m.length {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	chunks := newChunks(w)
	_, err := copyPooled(chunks, whole)
	if err != nil {
		return err
	}
	return chunks.Close()
}

// buffers keeps what messages were read into.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// chunk is what a long body is copied by.
const chunk = 32 << 10

var chunkBuffers = sync.Pool{New: func() any { return new([chunk]byte) }}

// copyPooled copies with memory of the pool.
func copyPooled(w io.Writer, r io.Reader) (int64, error) {
	b := chunkBuffers.Get().(*[chunk]byte)
	defer chunkBuffers.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, b[:])
}

// maxTimeout is the longest time of a call, far from where a grace added to it
// would overflow.
const maxTimeout = 100 * 365 * 24 * time.Hour

// timeoutOf is how long a client waits for the answer, in its own words; zero if
// it says nothing that can be used.
func timeoutOf(h http.Header) time.Duration {
	n, err := strconv.ParseInt(h.Get(headerTimeout), 10, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return min(time.Duration(n), maxTimeout)
}
