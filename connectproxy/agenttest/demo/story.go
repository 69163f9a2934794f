package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// story writes what a person reads. It is safe for any goroutine.
type story struct {
	mu   sync.Mutex
	w    io.Writer
	step int
}

// begin opens the next step.
func (s *story) begin(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step++
	fmt.Fprintf(s.w, "\n%d. %s\n", s.step, fmt.Sprintf(format, args...))
}

// printf adds an indented line to the step.
func (s *story) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.SplitSeq(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n") {
		fmt.Fprintf(s.w, "   %s\n", line)
	}
}

// Write takes the progress of builds.
func (s *story) Write(p []byte) (int, error) {
	s.printf("%s", p)
	return len(p), nil
}

// during says every few seconds that what takes time is still going on.
func (s *story) during(ctx context.Context, what string, do func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.heartbeat(ctx, what)
	}()
	err := do()
	cancel()
	<-done
	return err
}

func (s *story) heartbeat(ctx context.Context, what string) {
	const every = 15 * time.Second
	start := time.Now()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.printf("... still %s, %s so far", what, time.Since(start).Round(time.Second))
		}
	}
}

// until asks again and again, until done says nil, ctx ends or the time is up,
// and then gives done's last answer.
func until(ctx context.Context, within time.Duration, done func() error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (after %s)", err, within)
		case <-ticker.C:
		}
	}
}
