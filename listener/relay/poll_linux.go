package relay

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// window is how often a loop looks at the rate of new connections, and
	// churning how many within it make it wait in Go's poller.
	window   = 20 * time.Millisecond
	churning = 4
	// yieldEvery is how often a loop shows itself to Go's scheduler. One that
	// has run for 10 ms without is taken for a goroutine that will not end: its
	// processor is taken away in the middle of a system call, and a thread of
	// the runtime looks for others of the kind every 20 µs from then on, which
	// took 16 % of the CPU time of an exchange of 64 bytes.
	yieldEvery = 4 * time.Millisecond
)

// poll is an epoll descriptor and the two ways to wait on it.
//
// A thread that sits in epoll_wait is woken by the kernel alone: for an
// exchange of 64 bytes a pair of proxies spends 50 µs of CPU so, and 90 µs where
// Go's poller finds a thread for the goroutine first. But that thread holds one
// of Go's processors until the runtime takes it away, and has to get hold of
// another when it wakes, which costs while connections are made on other
// goroutines. So while many come, the loop waits as every other goroutine does,
// the descriptor being one that Go's own poller watches.
type poll struct {
	fd    int
	added atomic.Uint32 // connections so far

	// What follows is the loop's alone.
	since   time.Time // when the window began
	before  uint32    // what added was then
	yielded time.Time // when the scheduler last saw the loop

	file *os.File // a duplicate of fd while Go's poller watches it, else nil
	raw  syscall.RawConn
}

func newPoll() (*poll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &poll{fd: fd}, nil
}

// wait fills events and returns how many there are. It returns none when
// patience is over, and waits for ever if that is negative.
func (p *poll) wait(events []unix.EpollEvent, patience time.Duration) int {
	now := time.Now()
	if now.Sub(p.yielded) >= yieldEvery {
		runtime.Gosched()
		now = time.Now() // others may have taken their time
		p.yielded = now
	}
	if patience != 0 {
		p.choose(now)
		if p.file != nil {
			return p.park(events, patience)
		}
	}
	if patience > 0 {
		patience = (patience + time.Millisecond - 1) / time.Millisecond
	}
	for {
		n, err := unix.EpollWait(p.fd, events, int(patience))
		if err == nil {
			return n
		}
		if err != unix.EINTR {
			panic("relay: waiting for events: " + err.Error()) // only a closed descriptor could
		}
	}
}

// choose settles how to wait, once in a window.
func (p *poll) choose(now time.Time) {
	passed := now.Sub(p.since)
	if passed < window {
		return
	}
	added := p.added.Load()
	rate := time.Duration(added-p.before) * window / passed
	p.since, p.before = now, added
	switch {
	case rate >= churning && p.file == nil:
		p.watch()
	case rate < churning && p.file != nil:
		p.unwatch()
	}
}

// watch hands a duplicate of the descriptor to Go's poller, which takes what
// is set not to block. If there is none to be had, waiting goes on as before.
func (p *poll) watch() {
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
		p.unwatch()
	}
}

// unwatch ends that: as long as Go's poller watches, it is woken for every
// event as well.
func (p *poll) unwatch() {
	_ = p.file.Close()
	p.file, p.raw = nil, nil
}

// park waits in Go's poller, and no longer than until the rate is due to be
// looked at again.
func (p *poll) park(events []unix.EpollEvent, patience time.Duration) (n int) {
	if patience < 0 || patience > window {
		patience = window
	}
	_ = p.file.SetReadDeadline(time.Now().Add(patience))
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

func (p *poll) close() {
	if p.file != nil {
		p.unwatch()
	}
	unix.Close(p.fd)
}
