package deadpeer_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"connect-proxy/listener/deadpeer"
	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }

// TestAPeerThatReadsNothingIsNotLost fills a connection until its window is
// closed; the kernel's probes are being answered then.
func TestAPeerThatReadsNothingIsNotLost(t *testing.T) {
	c, _ := listenertest.TCPPair(t)
	_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	for _, err := c.Write(make([]byte, 1<<20)); err == nil; {
		_, err = c.Write(make([]byte, 1<<20))
	}
	if lost(t, c) {
		t.Error("a peer that pauses is taken for dead")
	}
}

func TestADescriptorThatIsNoTCPSocketIsNotLost(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if lost(t, ln.(*net.UnixListener)) || deadpeer.Lost(-1) {
		t.Error("it is")
	}
}

func lost(t *testing.T, c syscall.Conn) (is bool) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Control(func(fd uintptr) { is = deadpeer.Lost(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return is
}
