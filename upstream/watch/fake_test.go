package watch

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agenttest"
)

// request is one question that the fake agent was asked.
type request struct {
	at   time.Duration // since the test began
	cur  Cursor
	wait time.Duration
}

// fake is an agent whose answers a test writes. Its answer runs in the bubble.
type fake[T any] struct {
	answer func(ctx context.Context, n int, cur Cursor, wait time.Duration) (T, Cursor, error)

	start time.Time
	mu    sync.Mutex // guards asked
	asked []request
}

func newFake[T any](answer func(ctx context.Context, n int, cur Cursor, wait time.Duration) (T, Cursor, error)) *fake[T] {
	return &fake[T]{answer: answer, start: time.Now()}
}

func (f *fake[T]) Fetch(ctx context.Context, cur Cursor, wait time.Duration) (T, Cursor, error) {
	f.mu.Lock()
	f.asked = append(f.asked, request{at: time.Since(f.start), cur: cur, wait: wait})
	n := len(f.asked)
	f.mu.Unlock()
	return f.answer(ctx, n, cur, wait)
}

func (f *fake[T]) requests() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]request(nil), f.asked...)
}

// hold blocks as an agent does that has nothing new.
func hold(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run starts w and stops it at the end of the test.
func run[T any](t *testing.T, w *Watch[T]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run returned %v, want the context's error", err)
		}
	})
}

// after lets d of the bubble's time pass and everything in it come to rest.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// log collects lines.
type log struct{ agenttest.Log }

func (l *log) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: io.Writer(l)})
}

func equal(a, b string) bool { return a == b }
