package micro

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// pingInterval is how often the client of a websocket is asked whether it is
	// there, and pongTime how long it may take to say so. Both are Micro's.
	pingInterval = 54 * time.Second
	pongTime     = 60 * time.Second
	// messageTime is how long a client may take to read a message.
	messageTime = 10 * time.Second
	// maxFrame bounds a message of a client, in bytes. It is Micro's.
	maxFrame = 16 << 10
	// maxCloseReason bounds the text that comes with the end of a websocket, in
	// bytes (RFC 6455, 5.5).
	maxCloseReason = 123
)

// sockets bounds how many websockets of one kind there are.
type sockets chan struct{}

// wantsSocket reports whether a request is to become a websocket.
func wantsSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// socketTalk is what is said over a websocket.
type socketTalk struct {
	// send sends what there is to send by write until ctx is done, or has nothing
	// more to say, or write returns an error.
	send func(ctx context.Context, write func(message []byte) error) error
	// received is called for each message of the client, one at a time; an error
	// ends the connection. Nil ignores them.
	received func(message []byte) error
}

// serveSocket makes a websocket of a request, unless the limit is reached, and
// returns when it is over: when talk is, the client goes, does not answer a ping or
// does not read a message in time, or the proxy drains. The client is told which.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request, limit sockets, talk socketTalk) {
	select {
	case limit <- struct{}{}:
		defer func() { <-limit }()
	default:
		http.Error(w, "too many clients have a websocket here", http.StatusServiceUnavailable)
		return
	}
	c, err := websocket.Accept(w, r, nil) // which has answered where it fails
	if err != nil {
		return
	}
	c.SetReadLimit(maxFrame)
	ctx, cancel := context.WithCancelCause(r.Context())
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { cancel(receive(r.Context(), c, talk.received)) })
	running.Go(func() { cancel(s.keepAlive(ctx, c)) })
	running.Go(func() {
		select {
		case <-s.draining:
			cancel(errDraining)
		case <-ctx.Done():
		}
	})
	err = talk.send(ctx, func(message []byte) error { return s.writeMessage(ctx, c, message) })
	cancel(err)
	closeSocket(c, context.Cause(ctx))
}

// receive reads until the connection is closed. A context that is done would close
// it before the client is told why.
func receive(ctx context.Context, c *websocket.Conn, received func([]byte) error) error {
	for {
		_, message, err := c.Read(ctx)
		if err == nil && received != nil {
			err = received(message)
		}
		if err != nil {
			return err
		}
	}
}

// closeSocket tells the client why this is the end, if it is there.
func closeSocket(c *websocket.Conn, why error) {
	code, text := websocket.StatusInternalError, why.Error()
	switch {
	case errors.Is(why, errGone):
		_ = c.CloseNow() // rather than wait for its answer
		return
	case errors.Is(why, errDraining):
		code = websocket.StatusGoingAway
	case errors.Is(why, context.Canceled):
		code, text = websocket.StatusNormalClosure, ""
	}
	_ = c.Close(code, strings.ToValidUTF8(text[:min(len(text), maxCloseReason)], ""))
}

// keepAlive asks the client whether it is there until ctx is done. An error says
// that it is not.
func (s *Server) keepAlive(ctx context.Context, c *websocket.Conn) error {
	tick := time.NewTicker(s.pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := s.ping(ctx, c); err != nil {
			return fmt.Errorf("%w: no answer to a ping: %w", errGone, err)
		}
	}
}

func (s *Server) ping(ctx context.Context, c *websocket.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, s.pongTime)
	defer cancel()
	return c.Ping(ctx)
}

// writeMessage sends a message. A client that does not read it in time is gone.
func (s *Server) writeMessage(ctx context.Context, c *websocket.Conn, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.messageTime)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, message); err != nil {
		return fmt.Errorf("%w: sending a message: %w", errGone, err)
	}
	return nil
}

var (
	errDraining = errors.New("the proxy is stopping")
	errGone     = errors.New("the client has gone")
)
