package listener_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/listener"
	"connect-proxy/listener/relay"
)

// A stack is doubled where it is too small, and one that has grown by what a
// listener does before its first client, or to wait for one, stays so.
func TestAListenerThatWaitsForClientsHasTheSmallestStack(t *testing.T) {
	if raceEnabled {
		t.Skip("functions need more of a stack under the race detector")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("what functions need of a stack is known on amd64")
	}
	const n, smallest = 400, 2 << 10
	for _, network := range []string{"tcp", "unix"} {
		dir, engine := t.TempDir(), relay.New()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		before := stacks()
		for i := range n {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(dir, strconv.Itoa(i))
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			l, err := listener.New(ln, listener.Options{Dial: func(context.Context) (listener.Target, error) { return listener.Target{}, net.ErrClosed }, Relay: engine})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() { runBeside(ctx, l) })
		}
		untilWaiting(t, n)
		each := (stacks() - before) / n
		if each > smallest*3/2 {
			t.Errorf("%s: %d bytes of stack each", network, each)
		}
		cancel()
		all.Wait()
		engine.Close()
	}
}

// runBeside runs l as a caller does that has something on the stack itself.
//
//go:noinline
func runBeside(ctx context.Context, l *listener.Listener) {
	var own [40]byte
	own[min(len(os.Args), 9)] = 1
	_ = l.Run(ctx)
	if own[0] != 0 {
		panic("there is always one argument")
	}
}

// stacks is how much of the memory is taken by stacks.
func stacks() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

// untilWaiting returns once so many goroutines wait for the network.
func untilWaiting(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		text := make([]byte, 4<<20)
		if got := strings.Count(string(text[:runtime.Stack(text, true)]), "[IO wait"); got >= n {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%d of %d wait for clients", got, n)
		}
	}
}
