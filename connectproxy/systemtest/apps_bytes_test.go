package systemtest_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

const (
	request    = 777     // bytes, unlike any answer
	mebi       = 1 << 20 // an answer
	beforehand = 2 * time.Second
)

func speaksFirst(t *testing.T, m *fabric) {
	c := dial(t, m.address["greeter"])
	_ = c.SetDeadline(time.Now().Add(exchange))
	line, err := c.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "220 ") {
		t.Fatalf("%q, %v", line, err)
	}
	c.wants("greeter")
}

func halfClosedByClient(t *testing.T, m *fabric) {
	var sent hashed
	c, over := m.scene(t, func(app *net.TCPConn) error {
		if got, err := drink(app); err != nil || got.n != request {
			return errors.Join(fmt.Errorf("%d bytes of the request", got.n), err)
		}
		pause(beforehand)
		var err error
		sent, err = pour(app, mebi)
		return err
	})
	_, _ = pour(c, request)
	_ = c.CloseWrite()
	got, err := drink(c)
	if err != nil {
		t.Error(err)
	}
	ends(t, over, nil)
	same(t, "the answer", got, sent)
}

func halfClosedByApplication(t *testing.T, m *fabric) {
	var got hashed
	c, over := m.scene(t, func(app *net.TCPConn) (err error) {
		if _, err := pour(app, request); err != nil {
			return err
		}
		_ = app.CloseWrite()
		got, err = drink(app)
		return err
	})
	if got, err := drink(c); err != nil || got.n != request {
		t.Errorf("%d bytes of the question: %v", got.n, err)
	}
	pause(beforehand)
	sent, err := pour(c, mebi)
	if err != nil {
		t.Error(err)
	}
	_ = c.CloseWrite()
	ends(t, over, nil)
	same(t, "the answer", got, sent)
}

// bigTransfer moves 1 GiB down and, at the same time, a third of that up; an
// eighth with the race detector.
func bigTransfer(t *testing.T, m *fabric) {
	down := int64(1 << 30)
	if slow() {
		down /= 8
	}
	up := down/3 + 1
	var sent, arrived [2]hashed // down, up
	c, over := m.scene(t, func(app *net.TCPConn) error {
		return both(app, &sent[0], &arrived[1], down)
	})
	if err := both(c, &sent[1], &arrived[0], up); err != nil {
		t.Error(err)
	}
	ends(t, over, nil)
	same(t, "down", arrived[0], sent[0])
	same(t, "up", arrived[1], sent[1])
	if sent[0].n != down || sent[1].n != up {
		t.Errorf("%d and %d bytes were sent", sent[0].n, sent[1].n)
	}
}

// both sends n bytes and their end, and reads to the other side's at the same
// time.
func both(c *net.TCPConn, sent, arrived *hashed, n int64) error {
	var (
		writing sync.WaitGroup
		werr    error
	)
	writing.Go(func() {
		*sent, werr = pour(c, n)
		_ = c.CloseWrite()
	})
	var err error
	*arrived, err = drink(c)
	writing.Wait()
	if err == nil {
		err = werr
	}
	return err
}

// tinyWrites sends single bytes, each in a segment of its own, both ways at
// once.
func tinyWrites(t *testing.T, m *fabric) {
	n := 20_000
	if slow() {
		n /= 4
	}
	drip := func(c net.Conn, n int) error {
		r := bufio.NewReader(stream(n))
		for range n {
			b, _ := r.ReadByte()
			if _, err := c.Write([]byte{b}); err != nil {
				return err
			}
		}
		return c.(*net.TCPConn).CloseWrite()
	}
	dripped := func(c net.Conn, n int) error {
		got, err := drink(c)
		want, _ := drink(io.LimitReader(stream(n), int64(n)))
		if err == nil && got != want {
			err = fmt.Errorf("%d bytes came of %d, or others", got.n, n)
		}
		return err
	}
	at := func(c net.Conn, send, get int) error {
		writing := make(chan error, 1)
		go func() { writing <- drip(c, send) }()
		err := dripped(c, get)
		if werr := <-writing; err == nil {
			err = werr
		}
		return err
	}
	c, over := m.scene(t, func(app *net.TCPConn) error { return at(app, n/2, n) })
	if err := at(c, n, n/2); err != nil {
		t.Error(err)
	}
	ends(t, over, nil)
}

func resetByClient(t *testing.T, m *fabric) {
	reading := make(chan struct{})
	c, over := m.scene(t, func(app *net.TCPConn) error {
		if _, err := io.ReadFull(app, make([]byte, request)); err != nil {
			return err
		}
		close(reading)
		_, err := drink(app)
		return err
	})
	_, _ = pour(c, request)
	<-reading
	_ = c.SetLinger(0)
	c.Close()
	ends(t, over, syscall.ECONNRESET)
}

func resetByApplication(t *testing.T, m *fabric) {
	c, over := m.scene(t, func(app *net.TCPConn) error {
		_, err := io.ReadFull(app, make([]byte, request))
		_ = app.SetLinger(0)
		return err
	})
	_, _ = pour(c, request)
	ends(t, over, nil)
	gone := make(chan error, 1)
	_, err := drink(c)
	gone <- err
	ends(t, gone, syscall.ECONNRESET)
}

// resetAfterAnswer is an application that answers and resets: what had come
// before the reset may be lost to it, as without a proxy, but never looks
// complete.
func resetAfterAnswer(t *testing.T, m *fabric) {
	proceed := make(chan struct{})
	c, over := m.scene(t, func(app *net.TCPConn) error {
		if _, err := pour(app, mebi); err != nil {
			return err
		}
		<-proceed
		_ = app.SetLinger(0)
		return nil
	})
	if _, err := io.ReadFull(c, make([]byte, mebi)); err != nil {
		t.Error(err)
	}
	close(proceed)
	ends(t, over, nil)
	gone := make(chan error, 1)
	got, err := drink(c)
	gone <- err
	ends(t, gone, syscall.ECONNRESET)
	if got.n != 0 {
		t.Errorf("%d bytes came out of nothing", got.n)
	}
}

// netcat sends a file with nc -N, which shuts down writing at its end, and
// takes the answer that follows.
func netcat(t *testing.T, m *fabric) {
	nc := agenttest.Netcat(t)
	var got, answered hashed
	line, over := m.stage.expect(func(app *net.TCPConn) (err error) {
		if got, err = drink(app); err != nil {
			return err
		}
		answered, err = pour(app, mebi)
		return err
	})
	var file, answer bytes.Buffer
	sent, _ := pour(&file, 3*mebi+request)
	host, port, _ := net.SplitHostPort(m.address["stage"])
	cmd := exec.CommandContext(t.Context(), nc, "-N", host, port)
	cmd.Stdin, cmd.Stdout = io.MultiReader(strings.NewReader(line), &file), &answer
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	ends(t, over, nil)
	same(t, "the file", got, sent)
	came, _ := drink(&answer)
	same(t, "the answer", came, answered)
}
