package deadpeer

import (
	"time"

	"golang.org/x/sys/unix"
)

// Lost reports whether the peer of a TCP socket has answered nothing for longer
// than After. It is one system call, and false for any other descriptor.
func Lost(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && silentSince(info) >= After
}

// silentSince is for how long the peer has answered neither retransmissions nor
// window probes, and zero if none is without an answer: one that is may have
// been sent a moment ago, after hours of rest, so a single one says nothing. A
// living peer with a closed window answers each probe.
func silentSince(info *unix.TCPInfo) time.Duration {
	if info.Retransmits < 2 && info.Probes < 2 {
		return 0
	}
	// Both say how long nothing has come; a connection on which only the peer
	// sends data acknowledges with that data too.
	quiet := min(info.Last_ack_recv, info.Last_data_recv)
	return time.Duration(quiet) * time.Millisecond
}
