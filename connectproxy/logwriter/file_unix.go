//go:build unix

package logwriter

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// appendMode opens a file to append to. O_NONBLOCK keeps the opening of a named
// pipe without a reader from waiting for one.
const appendMode = os.O_WRONLY | os.O_APPEND | os.O_CREATE | unix.O_NONBLOCK

// file is a descriptor that may be a pipe, a terminal, a socket or a file.
type file struct {
	f  *os.File // keeps it open
	fd int
	// chunk is how many bytes go into one write(2): of what poll(2) finds room
	// in, as many as it vouches for. 0 means any number.
	chunk int
}

var _ output = file{}

func newFile(f *os.File) output {
	d := file{f: f, fd: -1}
	// Not by Fd, which would change O_NONBLOCK for everyone who shares it.
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { d.fd = int(fd) })
	}
	var st unix.Stat_t
	if unix.Fstat(d.fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		d.chunk = pipeBuf
	}
	return d
}

func (d file) write(p []byte, wait time.Duration) (int, error) {
	fds := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLOUT}}
	switch n, err := unix.Poll(fds, int(max(wait, time.Millisecond).Milliseconds())); {
	case n == 0, errors.Is(err, unix.EINTR):
		return 0, errFull
	case err != nil:
		return 0, err
	}
	if d.chunk > 0 {
		p = p[:min(len(p), d.chunk)]
	}
	n, err := unix.Write(d.fd, p)
	switch {
	case errors.Is(err, unix.EINTR):
		return 0, errFull
	case err != nil:
		return 0, err
	}
	return n, nil
}

// together is what a pipe takes as a whole or not at all, and of a file any
// number.
func (d file) together() int {
	if d.chunk > 0 {
		return d.chunk
	}
	return maxTogether
}

// gone says that a pipe's reader has left. Another may come to a named one.
func (file) gone(err error) bool { return errors.Is(err, unix.EPIPE) }
