package relay

import (
	"net"
	"os"

	"golang.org/x/sys/unix"

	"connect-proxy/listener/secure"
)

// refused takes a connection that the upstream has refused out of the loop, with
// the client's side open, and reports whether there was one.
func (l *eventLoop) refused(c *conn, e *sideError) bool {
	if e.side != 1 || e.writing || !c.replay.possible() {
		return false
	}
	if _, ok := secure.RefusalOf(e.err); !ok {
		return false
	}
	client, ok := l.handBack(c)
	if !ok {
		return false
	}
	l.remove(c)
	unix.Close(c.sides[1].fd)
	c.result = Result{End: Refused, Err: e.err, UpstreamFirst: true, Undelivered: &Undelivered{client, c.replay.sent}}
	l.finished = append(l.finished, c)
	return true
}

// handBack makes the client's descriptor a net.Conn again. Where none can be
// had, the client may be reset by then.
func (l *eventLoop) handBack(c *conn) (net.Conn, bool) {
	fd := c.sides[0].fd
	if l.poll != nil {
		// The kernel keeps watching a descriptor of which there is a duplicate.
		if err := unix.EpollCtl(l.poll.fd, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
			return nil, false
		}
	}
	file := os.NewFile(uintptr(fd), "client")
	c.sides[0].fd = -1
	defer file.Close()
	client, err := net.FileConn(file) // has a descriptor of its own
	if err != nil {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		return nil, false
	}
	return client, true
}
