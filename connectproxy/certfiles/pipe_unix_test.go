//go:build unix

package certfiles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"connect-proxy/listener/listenertest"
)

func TestAPipeInPlaceOfAFileHoldsUpNobody(t *testing.T) {
	ca := year(t, "ca", nil)
	id := year(t, "one", ca)
	p := newPaths(t)
	write(t, p.cert, id.pem)
	write(t, p.key, id.keys)
	write(t, p.ca, ca.pem)
	f, err := New(Options{Certificate: p.cert, Key: p.key, CA: p.ca, Interval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(p.ca); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(p.ca, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // lets go whoever waits for a writer
		if w, err := os.OpenFile(p.ca, os.O_RDWR, 0); err == nil {
			w.Close()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	if err := listenertest.Poll(10*time.Second, nil, func() error {
		if refused := f.Refused(); !strings.Contains(refused, "not a regular file") {
			return fmt.Errorf("refused: %q", refused)
		}
		return nil
	}); err != nil {
		t.Errorf("the pipe is not refused: %v", err)
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Run waits for a writer")
	}
	if f.Current().Certificate.Leaf == nil {
		t.Error("the last good files are not in force")
	}
}
