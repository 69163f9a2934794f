package relay

import (
	"syscall"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// bufferSizes are the sizes of the buffers that a loop keeps for what a connection
// has to hold between events: a record's beginning, or what its receiver does
// not take. A receiver that reads nothing so holds little, since a short write
// also shrinks what is read next.
var bufferSizes = [...]int{512, 17 << 10, 68 << 10, secure.Sealed(maxBatch)}

// maxFree is how many buffers of a size are kept for reuse.
const maxFree = 8

// getBuffer returns an empty buffer with room for n bytes.
func (l *eventLoop) getBuffer(n int) []byte {
	for i, size := range bufferSizes {
		if n > size {
			continue
		}
		if k := len(l.freeBuffers[i]); k > 0 {
			b := l.freeBuffers[i][k-1]
			l.freeBuffers[i] = l.freeBuffers[i][:k-1]
			return b
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n)
}

// putBuffer takes a buffer of getBuffer's for reuse.
func (l *eventLoop) putBuffer(b []byte) {
	for i, size := range bufferSizes {
		if cap(b) == size && len(l.freeBuffers[i]) < maxFree {
			l.freeBuffers[i] = append(l.freeBuffers[i], b[:0])
			return
		}
	}
}

// sealBuffer returns the room for sealing what was opened into l.out.
func (l *eventLoop) sealBuffer() []byte {
	if l.extra == nil {
		l.extra = make([]byte, 0, cap(l.out))
	}
	return l.extra
}

// keepPartial makes rest, the beginning of a record, s's partial.
func (l *eventLoop) keepPartial(s *side, rest []byte) {
	if cap(s.partial) < len(rest) || len(rest) == 0 {
		if s.partial != nil {
			l.putBuffer(s.partial)
			s.partial = nil
		}
		if len(rest) == 0 {
			return
		}
		s.partial = l.getBuffer(len(rest))
	}
	s.partial = append(s.partial[:0], rest...)
}

// release drops what f still holds.
func (l *eventLoop) release(f *flow) {
	if f.buf != nil {
		l.putBuffer(f.buf)
	}
	f.pending, f.buf = nil, nil
}

// read reads from s behind the bytes that are in l.in already, unless there are
// whole records among those.
func (l *eventLoop) read(f *flow, s *side, have int) (n int, eof bool, err error) {
	if s.unopened {
		return 0, false, nil
	}
	if !s.readable {
		return 0, false, nil
	}
	if f.batch == 0 {
		f.batch = minBatch
	}
	size := min(f.batch, l.turn(), len(l.in)-have)
	for {
		n, err = unix.Read(s.fd, l.in[have:have+size])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.readable = false
			return 0, false, nil
		case err != nil:
			return 0, false, err
		case n == 0:
			s.readable = false
			return 0, true, nil
		}
		if n == size {
			f.batch = min(2*f.batch, maxBatch)
		} else if !s.hungUp {
			// Short of what was asked for, the socket is empty, and an
			// edge-triggered event will announce more (epoll(7), questions 9).
			s.readable = false
		}
		return n, false, nil
	}
}

// write offers p to s and returns how much it took.
func write(s *side, p []byte) (int, error) {
	for {
		var n int
		var err error
		if s.cork {
			n, err = unix.SendmsgN(s.fd, p, nil, nil, unix.MSG_MORE)
		} else {
			n, err = unix.Write(s.fd, p)
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.writable = false
			return 0, nil
		case err != nil:
			return 0, err
		}
		if n < len(p) {
			s.writable = false
		}
		return n, nil
	}
}

// send writes p to the receiver of flows[i] and keeps what it does not take.
func (l *eventLoop) send(c *conn, i int, p []byte) *sideError {
	f, dst := &c.flows[i], &c.sides[1-i]
	l.noteSent(c)
	if len(f.pending) == 0 && dst.writable {
		n, err := write(dst, p)
		if err != nil {
			return &sideError{side: 1 - i, writing: true, err: err}
		}
		if n == len(p) {
			f.count += f.uncounted
			f.uncounted = 0
			return nil
		}
		p = p[n:]
		f.batch = max(minBatch, f.batch/2)
	}
	l.appendPending(f, p)
	return l.awaitRoom(c, 1-i)
}

// awaitRoom has epoll report when sides[i], which took no more, has room.
func (l *eventLoop) awaitRoom(c *conn, i int) *sideError {
	s := &c.sides[i]
	if s.writable || s.watching {
		return nil
	}
	s.watching = true
	if err := l.register(c, i, unix.EPOLL_CTL_MOD); err != nil {
		return &sideError{side: i, err: err}
	}
	return nil
}

// appendPending adds p to what f has pending.
func (l *eventLoop) appendPending(f *flow, p []byte) {
	if len(f.pending) == 0 {
		f.buf = l.getBuffer(len(p))
		f.pending = append(f.buf, p...)
		return
	}
	f.pending = append(f.pending, p...)
}

// flush writes what is pending, and reports whether some still is.
func (l *eventLoop) flush(c *conn, i int) (blocked bool, _ *sideError) {
	f, dst := &c.flows[i], &c.sides[1-i]
	if len(f.pending) == 0 {
		return false, nil
	}
	if !dst.writable {
		return true, l.awaitRoom(c, 1-i)
	}
	n, err := write(dst, f.pending)
	if err != nil {
		return false, &sideError{side: 1 - i, writing: true, err: err}
	}
	if n > 0 && len(l.timers) > 0 {
		c.moved = l.now
	}
	if f.pending = f.pending[n:]; len(f.pending) > 0 {
		return true, l.awaitRoom(c, 1-i)
	}
	l.release(f)
	f.count += f.uncounted
	f.uncounted = 0
	sErr := l.answer(c, i)
	return len(f.pending) > 0, sErr
}

// sideError is a side that broke off, and whether it was found by writing to
// it: what it had sent before is then still delivered.
type sideError struct {
	side    int
	writing bool
	err     error
}

func (e *sideError) Error() string { return e.err.Error() }

// lostAfterEnd is the error of a side that had ended its direction in order and
// was reset later. Nothing is read from it any more, and as long as there is
// nothing to write either, only asking shows that it is gone.
func (c *conn) lostAfterEnd(i int) *sideError {
	s := &c.sides[i]
	if alone := c.flows[i].ended && c.cause == nil; !alone || !s.failed {
		return nil
	}
	s.failed = false
	// Asking an open socket does not fail.
	errno, _ := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if errno <= 0 {
		return nil
	}
	return &sideError{side: i, writing: true, err: syscall.Errno(errno)}
}

// stillDelivering reports whether sides[i] was sent everything, with its end, and
// has yet to acknowledge some of it: when the other side is gone by then, a
// reset would throw that away.
func (c *conn) stillDelivering(i int) bool {
	if c.cause == nil || !c.flows[1-i].endDelivered {
		return false
	}
	n, err := unix.IoctlGetInt(c.sides[i].fd, unix.SIOCOUTQ)
	return err == nil && n > 0
}
