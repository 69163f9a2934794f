package relay

import (
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// firstMost bounds what is moved of a connection before a loop has it.
const firstMost = 8 << 10

// scratch is the room for that: as it came, opened and sealed.
type scratch struct {
	in, opened [firstMost]byte
	sealed     [2 * firstMost]byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// prime moves what is there already when a connection is handed over, on the
// goroutine that hands it over: the first request of a client, with the last
// flight of our handshake in the same packet, or what came with the last flight
// of a client's. Otherwise a loop would have to be woken for it. What does not
// go on at once, errors too, is left to the loop.
func (c *conn) prime() {
	for i := range c.flows {
		f, src, dst := &c.flows[i], &c.sides[i], &c.sides[1-i]
		if len(f.pending) == 0 && len(src.partial) == 0 {
			continue
		}
		s := scratches.Get().(*scratch)
		content := c.first(i, s)
		c.replay.pass(i, content)
		f.owed += int64(len(content))
		data := append(s.sealed[:0], f.pending...)
		if dst.tls != nil {
			data = dst.tls.Seal(data, content)
		} else {
			data = append(data, content...)
		}
		f.pending = nil
		c.push(i, data)
		scratches.Put(s)
	}
}

// first is what has come from sides[i] so far.
func (c *conn) first(i int, s *scratch) []byte {
	src := &c.sides[i]
	if src.tls == nil {
		n, err := unix.Read(src.fd, s.in[:firstMost])
		if n > 0 {
			return s.in[:n]
		}
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			src.err = err // the kernel says it once only
		}
		return nil
	}
	content, used, err := src.tls.Open(s.opened[:0], src.partial)
	if src.partial = src.partial[used:]; len(src.partial) == 0 {
		src.partial = nil
	}
	if err == io.EOF {
		c.endedBy(&c.flows[i])
		c.half = true
	} else if err != nil {
		src.err = err
	}
	return content
}

// push writes data to the receiver of flows[i] and keeps what it does not take.
func (c *conn) push(i int, data []byte) {
	f, dst := &c.flows[i], &c.sides[1-i]
	if len(data) == 0 {
		return
	}
	n, err := write(dst, data)
	if err != nil {
		n = 0 // the loop will meet the error again, or the end behind it
		dst.err = err
	}
	if n < len(data) {
		f.pending = append([]byte(nil), data[n:]...)
		return
	}
	f.count, f.owed = f.owed, 0
}
