//go:build unix

package logwriter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipe gives both ends of a pipe as a child would inherit them: blocking.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Fd() // has it block
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestAFullPipeTakesWholeLinesAgainOnceItIsRead(t *testing.T) {
	r, f := pipe(t)
	w := Start(f, Options{Size: 16 << 10})
	terse(w)
	const lines = 5000
	began := time.Now()
	for i := range lines {
		say(t, w, "line %4d %s\n", i, strings.Repeat("x", 50))
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Write blocked: %d lines took %s", lines, took)
	}
	if w.Dropped() == 0 {
		t.Fatal("the pipe took everything: the test shows nothing")
	}
	read := make(chan int)
	go func() {
		seen, s := 0, bufio.NewScanner(r)
		for s.Scan() {
			var n int
			switch _, err := fmt.Sscanf(s.Text(), "(%d missing)", &n); {
			case err == nil:
				seen += n
			case len(s.Text()) == len("line 0000 ")+50 && strings.HasPrefix(s.Text(), "line "):
				seen++
			default:
				t.Errorf("a torn line: %q", s.Text())
			}
		}
		read <- seen
	}()
	if !w.Close(30 * time.Second) {
		t.Error("not everything was written")
	}
	f.Close()
	if n := <-read; n != lines {
		t.Errorf("%d lines were written or named as missing, want %d", n, lines)
	}
}

func TestAFullPipeDoesNotHoldTheGoroutine(t *testing.T) {
	_, f := pipe(t)
	w := Start(f, Options{})
	for range 2000 {
		say(t, w, "%s\n", strings.Repeat("x", 100))
	}
	began := time.Now()
	if w.Close(100 * time.Millisecond) {
		t.Error("Close says that everything was written")
	}
	select {
	case <-w.done:
	case <-time.After(30 * time.Second):
		t.Error("the goroutine is still there")
	}
	if took := time.Since(began); took > 10*time.Second { // on a loaded machine; the pipe is never read
		t.Errorf("Close took %s", took)
	}
}

func TestAReaderThatReturnsToANamedPipeReadsOn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	open := func(flag int) *os.File {
		t.Helper()
		f, err := os.OpenFile(name, flag|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first := open(os.O_RDONLY)
	f := open(os.O_WRONLY)
	w := Start(f, Options{Retry: 10 * time.Millisecond})
	say(t, w, "one\n")
	expect(t, first, "one\n")
	first.Close()
	say(t, w, "two\n")
	second := open(os.O_RDONLY)
	expect(t, second, "two\n")
	w.Close(time.Second)
}

func expect(t *testing.T, r *os.File, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_ = r.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func TestAnInheritedDescriptorKeepsItsMode(t *testing.T) {
	for name, nonblocking := range map[string]bool{"blocking": false, "non-blocking": true} {
		t.Run(name, func(t *testing.T) {
			r, f := pipe(t)
			fd := int(f.Fd())
			if err := syscall.SetNonblock(fd, nonblocking); err != nil {
				t.Fatal(err)
			}
			own, err := syscall.Dup(fd)
			if err != nil {
				t.Fatal(err)
			}
			inherited := os.NewFile(uintptr(own), "log")
			defer inherited.Close()
			w := Start(inherited, Options{})
			for range 2000 {
				say(t, w, "%s\n", strings.Repeat("x", 100))
			}
			expect(t, r, strings.Repeat("x", 100)+"\n")
			w.Close(time.Second)
			if got := isNonblocking(t, fd); got != nonblocking {
				t.Errorf("non-blocking is %t, was %t", got, nonblocking)
			}
		})
	}
}

func TestAFullDiskIsWaitedOut(t *testing.T) {
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if runtime.GOOS != "linux" && errors.Is(err, fs.ErrNotExist) {
		t.Skip("this system has no /dev/full")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := Start(f, Options{Size: 1 << 10, Retry: time.Millisecond})
	for range 100 {
		say(t, w, "line\n")
	}
	if w.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	began := time.Now()
	if w.Close(time.Minute) {
		t.Error("Close says that everything was written")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Close took %s", took)
	}
}

func isNonblocking(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}
