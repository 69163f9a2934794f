package listener_test

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

const exhaustEnv = "LISTENER_TEST_EXHAUST"

// TestAcceptingGoesOnWhenDescriptorsAreFreedAgain runs in a process of its own,
// which it leaves without descriptors for a moment.
func TestAcceptingGoesOnWhenDescriptorsAreFreedAgain(t *testing.T) {
	if os.Getenv(exhaustEnv) != "" {
		exhaust(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), exhaustEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func exhaust(t *testing.T) {
	app := listenertest.NewEcho(t)
	l := start(t, listener.Options{Dial: dialTo(app.Addr())})
	before := l.dial(t)
	roundTrip(t, before) // now the app has accepted it

	// The client's descriptor is made before there are none, its connect
	// comes after.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	none := old
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	sa := &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}
	if err := syscall.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	listenertest.Eventually(t, "the problem is said", func() bool {
		return strings.Contains(l.Problem(), "too many open files")
	})
	roundTrip(t, before) // open connections do not care

	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	l.waitOpened(t, 2)
	listenertest.Eventually(t, "the problem is over", func() bool { return l.Problem() == "" })
	roundTrip(t, l.dial(t))
}
