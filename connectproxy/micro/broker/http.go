package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// maxReading is how many events beyond short, in bytes, are read from clients at
	// a time, and as many from other proxies; more wait for readingWait. Short ones
	// take no turn: who sends slowly keeps nobody else from sending one. readTime
	// bounds how long one may take.
	maxReading  = 32
	short       = 64 << 10
	readingWait = time.Second
	readTime    = 10 * time.Second
)

// ServeHTTP answers what is no websocket at /broker: a POST publishes its body to
// the topic of the query, with its headers. Whoever calls it has seen to it that no
// page of a browser has sent the request.
func (b *Broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	topic := r.URL.Query().Get("topic")
	err := b.check(&Event{Topic: topic})
	switch {
	case err != nil:
		b.came(fromApplication, 0, err)
		http.Error(w, err.Error(), StatusOf(err))
	case r.Method != http.MethodPost:
		http.Error(w, "POST publishes, a websocket subscribes", http.StatusMethodNotAllowed)
	default:
		b.publishBody(w, r, MaxBody, func(body []byte) (Event, error) {
			return Event{topic, headerOf(r), body}, nil
		})
	}
}

// ServePublisher takes an event from the HTTP broker of a Go Micro application,
// which sends it as JSON to each subscriber that its registry shows.
func (b *Broker) ServePublisher(w http.ResponseWriter, r *http.Request) {
	b.publishBody(w, r, maxJSON, func(body []byte) (Event, error) {
		var f frame
		if err := json.Unmarshal(body, &f); err != nil {
			return Event{}, fmt.Errorf("reading the JSON of the event: %w", err)
		}
		topic := f.Header[headerTopic]
		if topic == "" {
			topic = f.Header[v1Topic]
		}
		return Event{topic, f.Header, f.Body}, nil
	})
}

// maxJSON is how long the JSON of an event may be: its body is in base64, its
// header may be escaped.
const maxJSON = MaxBody/3*4 + 6*MaxHeader + 1<<10

// publishBody publishes what event makes of the body of a request.
func (b *Broker) publishBody(w http.ResponseWriter, r *http.Request, most int64, event func(body []byte) (Event, error)) {
	body, err := b.read(w, r, most, b.reading)
	if err != nil {
		b.came(fromApplication, 0, err)
		http.Error(w, err.Error(), StatusOf(err))
		return
	}
	e, err := event(body)
	if err != nil {
		b.came(fromApplication, 0, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := b.Publish(r.Context(), e); err != nil {
		http.Error(w, err.Error(), StatusOf(err))
		return
	}
	w.WriteHeader(http.StatusOK)
}

// read reads the body of a request, a long one when its turn has come. After an error nothing
// more is read from the connection: what is left of the body could take for ever.
func (b *Broker) read(w http.ResponseWriter, r *http.Request, most int64, turns chan struct{}) ([]byte, error) {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(b.readTime))
	body, err := readBody(w, r, most, turns)
	if err != nil {
		w.Header().Set("Connection", "close")
		return nil, err
	}
	_ = control.SetReadDeadline(time.Time{})
	return body, nil
}

func readBody(w http.ResponseWriter, r *http.Request, most int64, turns chan struct{}) ([]byte, error) {
	if r.ContentLength > most {
		return nil, ErrLong
	}
	var body bytes.Buffer
	announced := max(r.ContentLength, 0) // lest it grow by doubling
	body.Grow(int(min(announced, short+1)) + bytes.MinRead)
	rest := http.MaxBytesReader(w, r.Body, most)
	n, err := body.ReadFrom(io.LimitReader(rest, short+1))
	if n > short && err == nil {
		if err := takeTurn(r.Context(), turns); err != nil {
			return nil, err
		}
		defer func() { <-turns }()
		body.Grow(int(max(announced-n, 0)) + bytes.MinRead)
		_, err = body.ReadFrom(rest)
	}
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return nil, ErrLong
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnread, err)
	}
	return body.Bytes(), nil
}

func takeTurn(ctx context.Context, turns chan struct{}) error {
	wait := time.NewTimer(readingWait)
	defer wait.Stop()
	select {
	case turns <- struct{}{}:
		return nil
	case <-wait.C:
		return ErrFull
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ofConnection are headers about a connection and not about an event.
var ofConnection = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Content-Length": true, "Expect": true, "Host": true,
}

// headerOf is the header of an event whose body a request has.
func headerOf(r *http.Request) map[string]string {
	h := make(map[string]string, len(r.Header))
	for k, v := range r.Header {
		if !ofConnection[k] {
			h[k] = strings.Join(v, ", ")
		}
	}
	return h
}
