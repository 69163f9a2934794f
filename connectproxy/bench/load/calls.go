package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// callSize is the length of what a call sends and gets back, in bytes.
const callSize = 64

// Calls makes calls as clients of Micro do, each a message for the service, one
// after another on one connection. Its Visits are calls.
func (c *Client) Calls(ctx context.Context, service string, w Window) (Visits, error) {
	var v Visits
	one, err := c.open(ctx, nil)
	if err != nil {
		return v, fmt.Errorf("opening a connection for calls: %w", err)
	}
	defer one.end()
	message := []byte(fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n"+
		"Micro-Service: %[1]s\r\nMicro-Endpoint: Bench.Answer\r\nMicro-Method: Bench.Answer\r\nMicro-Id: 1\r\n\r\n", service, callSize) +
		string(filler[:callSize]))
	var work sync.WaitGroup
	var p phases
	work.Go(func() {
		in := bufio.NewReader(one)
		for !p.over.Load() && ctx.Err() == nil {
			start := time.Now()
			if v.Err = call(one, in, message); v.Err != nil {
				v.Failed++
				return
			}
			if p.measuring.Load() {
				v.Times = append(v.Times, time.Since(start))
			}
		}
	})
	took := w.run(ctx, &p)
	work.Wait()
	if v.Err != nil && ctx.Err() == nil {
		return v, fmt.Errorf("calling %s: %w", service, v.Err)
	}
	if v.count(took); v.Done == 0 && ctx.Err() == nil {
		return v, fmt.Errorf("calling %s: no call was answered within %s", service, took)
	}
	return v, ctx.Err()
}

// call sends a message and reads the answer.
func call(c *conn, in *bufio.Reader, message []byte) error {
	if _, err := c.Write(message); err != nil {
		return err
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK || len(body) != callSize {
		return fmt.Errorf("the answer is %s with %d bytes", r.Status, len(body))
	}
	return nil
}

// answerCalls answers the calls of a connection, of which the first byte has been
// read, with what they send.
func answerCalls(c net.Conn) {
	in := bufio.NewReader(io.MultiReader(strings.NewReader(string(opCall)), c))
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, chunk))
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nMicro-Id: %s\r\nContent-Length: %d\r\n\r\n%s",
			r.Header.Get("Micro-Id"), len(body), body); err != nil {
			return
		}
	}
}
