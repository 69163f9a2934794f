package listenertest

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Leaks runs the tests of a package and fails if a goroutine or, on Linux, a
// descriptor is left over. It is what TestMain calls, and does not return.
func Leaks(m *testing.M, options ...goleak.Option) {
	warmUp()
	before := Descriptors()
	options = append(options, goleak.Cleanup(func(code int) {
		if left := remaining(before); code == 0 && len(left) > 0 {
			fmt.Fprintln(os.Stderr, "descriptors left open:", left)
			code = 1
		}
		os.Exit(code) //nolint:forbidigo // called by TestMain, as its last step
	}))
	goleak.VerifyTestMain(m, options...)
}

// warmUp has the runtime open what it keeps for its own use.
func warmUp() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = ln.Close()
	}
}

// remaining waits for descriptors to be closed and gives what is left. It
// collects garbage, since package net keeps the pipes that it splices with in a
// pool.
func remaining(before map[int]string) map[int]string {
	for deadline := time.Now().Add(2 * time.Second); ; {
		runtime.GC()
		left := make(map[int]string)
		for fd, what := range Descriptors() {
			if before[fd] != what {
				left[fd] = what
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		<-time.After(10 * time.Millisecond)
	}
}
