//go:build unix

package logwriter

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// written waits until the file has the text.
func written(t *testing.T, path, want string) {
	t.Helper()
	var got []byte
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(time.Millisecond) {
		if got, _ = os.ReadFile(path); string(got) == want {
			return
		}
	}
	t.Fatalf("%s has %q, want %q", filepath.Base(path), got, want)
}

func TestAFileThatWasRotatedIsOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := StartPath(path, Options{Retry: time.Millisecond})
	defer w.Close(time.Second)
	say(t, w, "one\n")
	written(t, path, "before\none\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	<-time.After(checkEvery)
	say(t, w, "two\n")
	written(t, path, "two\n")
	written(t, path+".1", "before\none\n")

	// As logrotate does with `create` and a signal: at once.
	if err := os.Rename(path, path+".2"); err != nil {
		t.Fatal(err)
	}
	w.Reopen()
	say(t, w, "three\n")
	written(t, path, "three\n")

	// As logrotate does with `copytruncate`.
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	say(t, w, "four\n")
	written(t, path, "four\n")
	if w.Dropped() != 0 || w.Err() != nil {
		t.Errorf("%d dropped, %v", w.Dropped(), w.Err())
	}
}

func TestAFileThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(directory, "log")
	w := StartPath(path, Options{Retry: time.Millisecond})
	defer w.Close(time.Second)
	say(t, w, "one\n")
	for end := time.Now().Add(30 * time.Second); w.Err() == nil && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	if !errors.Is(w.Err(), os.ErrNotExist) {
		t.Errorf("the problem is %v", w.Err())
	}
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	written(t, path, "one\n")
	for end := time.Now().Add(30 * time.Second); w.Err() != nil && time.Now().Before(end); {
		<-time.After(time.Millisecond) // it is over once the write has returned
	}
	if w.Err() != nil {
		t.Errorf("the problem is still %v", w.Err())
	}
}

func TestANamedPipeWithoutAReaderHoldsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w := StartPath(path, Options{Size: 4 << 10, Retry: time.Millisecond})
	began := time.Now()
	for range 1000 {
		say(t, w, "%s\n", strings.Repeat("x", 100))
	}
	w.Close(50 * time.Millisecond)
	if took := time.Since(began); took > 5*time.Second || w.Dropped() == 0 {
		t.Errorf("it took %s, %d were dropped", took, w.Dropped())
	}
	select {
	case <-w.done:
	case <-time.After(30 * time.Second):
		t.Error("the goroutine is still there")
	}
}
