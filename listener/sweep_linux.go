package listener

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lost asks the kernel about a TCP connection.
func lost(sc syscall.Conn, limit time.Duration) bool {
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var info *unix.TCPInfo
	if cerr := rc.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); cerr != nil || err != nil { // closed, or no TCP
		return false
	}
	return silentSince(info) >= limit
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
