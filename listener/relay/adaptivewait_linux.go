package relay

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// rateWindow is how often a loop looks at the rate of new connections, and
	// manyConnections how many within it make it wait in Go's poller.
	rateWindow      = 20 * time.Millisecond
	manyConnections = 4
	// yieldEvery is how often a loop shows itself to Go's scheduler. One that
	// has run for 10 ms without is taken for a goroutine that will not end: its
	// processor is taken away in the middle of a system call, and a thread of
	// the runtime looks for others of the kind every 20 µs from then on.
	yieldEvery = 4 * time.Millisecond
)

// adaptWait settles how to wait, once in a rateWindow.
//
// A thread that sits in epoll_wait is woken by the kernel alone, which costs
// least for each message. But it holds one of Go's processors until the runtime
// takes that away, and has to get hold of another when it wakes, which costs
// while connections are made on other goroutines. So while many come, the loop
// waits as every other goroutine does, the descriptor being one that Go's own
// poller watches. docs/decisions/0003-event-loops.md has what that brings.
func (p *poll) adaptWait(now time.Time) {
	passed := now.Sub(p.since)
	if passed < rateWindow {
		return
	}
	added := p.added.Load()
	rate := time.Duration(added-p.before) * rateWindow / passed
	p.since, p.before = now, added
	switch {
	case rate >= manyConnections && p.file == nil:
		p.enterNetpoller()
	case rate < manyConnections && p.file != nil:
		p.leaveNetpoller()
	}
}

// enterNetpoller hands a duplicate of the descriptor to Go's poller, which takes what
// is set not to block. If there is none to be had, waiting goes on as before.
func (p *poll) enterNetpoller() {
	fd, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return
	}
	p.file = os.NewFile(uintptr(fd), "epoll")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.leaveNetpoller()
	}
}

// leaveNetpoller ends that: as long as Go's poller watches, it is woken for every
// event as well.
func (p *poll) leaveNetpoller() {
	_ = p.file.Close()
	p.file, p.raw = nil, nil
}

// waitInNetpoller waits in Go's poller, and no longer than until the rate is due to be
// looked at again.
func (p *poll) waitInNetpoller(events []unix.EpollEvent, timeout time.Duration) (n int) {
	if timeout < 0 || timeout > rateWindow {
		timeout = rateWindow
	}
	_ = p.file.SetReadDeadline(time.Now().Add(timeout))
	parked := false
	_ = p.raw.Read(func(fd uintptr) bool {
		n, _ = unix.EpollWait(int(fd), events, 0)
		parked = parked || n <= 0
		return n > 0
	})
	if parked { // which the scheduler has seen
		p.yielded = time.Now()
	}
	return max(n, 0)
}
