package micro

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/micro/broker"
)

func (s *Server) newBroker() {
	s.broker = broker.New(broker.Options{
		Topic:   func(topic string) bool { return s.rules.Load().topics.Allows(topic) },
		Service: func(name string) (config.Destination, bool) { d, failed := s.named(name); return d, failed == nil },
		Own:     s.o.Service,
		Catalog: s.o.Catalog,
		Sender:  s.sender,
		Logger:  s.o.Logger,
	})
	s.subscribers = make(sockets, broker.MaxSubscribers)
	s.events = &http.Server{
		Handler:        http.HandlerFunc(s.broker.ServeEvent),
		ReadTimeout:    headerTime,
		IdleTimeout:    2 * idleTime,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       s.http.ErrorLog,
	}
}

// Run hands out events until ctx is done, and returns when what it has started has
// ended. It must be called once. What is accepted from events are the connections
// of other proxies that bring some, which it closes.
func (s *Server) Run(ctx context.Context, events net.Listener) error {
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.events.Serve(events) // until it is closed
	}()
	err := s.broker.Run(ctx)
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if s.events.Shutdown(bounded) != nil {
		_ = s.events.Close()
	}
	<-served
	return err
}

// CloseEvents closes the connections of other proxies that bring no event at this
// moment, and those of the others after theirs.
func (s *Server) CloseEvents() { s.events.SetKeepAlivesEnabled(false) }

// Events says what has become of events.
func (s *Server) Events() broker.Counts { return s.broker.Counts() }

// isPublished reports whether an HTTP broker of Go Micro sends an event, which it
// does to the path /_sub in version 1 and / in later ones, with the ID of the
// subscriber.
func isPublished(r *http.Request) bool {
	return r.Method == http.MethodPost && (r.URL.Path == "/" || r.URL.Path == "/_sub") && r.URL.Query().Has("id")
}

// brokerPath is where applications publish and subscribe.
const brokerPath = "/broker"

// isEvent reports whether a request may bring an event, whose time the broker
// bounds as a whole.
func isEvent(r *http.Request) bool { return isPublished(r) || r.URL.Path == brokerPath }

// serveBroker answers /broker: a POST publishes, and a websocket subscribes and
// publishes what it sends.
func (s *Server) serveBroker(w http.ResponseWriter, r *http.Request) {
	if !wantsSocket(r) {
		s.broker.ServeHTTP(w, r)
		return
	}
	q := r.URL.Query()
	to, err := s.broker.Subscribe(q.Get("topic"), q.Get("queue"))
	if err != nil {
		http.Error(w, err.Error(), broker.StatusOf(err))
		return
	}
	defer to.Close()
	kind := r.Header.Get("Content-Type")
	if kind == "" {
		kind = "text/plain"
	}
	s.serveSocket(w, r, s.subscribers, socketTalk{send: to.Run, received: func(body []byte) error {
		e := broker.Event{Topic: q.Get("topic"), Header: map[string]string{"Content-Type": kind}, Body: body}
		if err := s.broker.Publish(r.Context(), e); err != nil {
			s.o.Logger.Debug("event not published", "client", r.RemoteAddr, "topic", e.Topic, "error", err)
		}
		return nil
	}})
}

// sender sends events to a service on its port for calls, as servers of Micro take
// them: a message with the header Micro-Topic.
type sender struct {
	*session
	to config.Destination
}

func (s *Server) sender(to config.Destination) broker.Sender {
	return &sender{&session{server: s}, to}
}

// tries is to how many instances an event is offered, one after the other, for
// which nobody has subscribed at the first.
const tries = 3

// Send and Close are broker.Sender's.
func (s *sender) Send(ctx context.Context, e *broker.Event) error {
	h := make(http.Header, len(e.Header))
	for k, v := range e.Header {
		h.Set(k, v)
	}
	for range tries {
		nobody, err := s.offer(ctx, h, e.Body)
		if err != nil || !nobody {
			return err
		}
	}
	return nil
}

// offer sends an event to an instance, and reports whether nobody has subscribed
// there.
func (s *sender) offer(ctx context.Context, h http.Header, body []byte) (nobody bool, err error) {
	x, response, failed := s.call(ctx, &message{
		to: s.to, header: h, kept: bytes.NewBuffer(body), length: int64(len(body)),
	})
	if failed != nil {
		return false, failed
	}
	n, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxKept+1))
	if err != nil || n > maxKept {
		x.end(false)
		return false, errors.Join(errEventAnswer, err)
	}
	text := response.Header.Get(headerError)
	nobody = broker.IsNobody(text)
	if x.end(!nobody && !response.Close && x.far.reader.Buffered() == 0) {
		s.put(x.far)
	}
	if text != "" && !nobody {
		s.server.o.Logger.Debug("event not handled", "service", s.to.String(), "topic", h.Get(headerTopic), "error", text)
	}
	return nobody, nil
}

var errEventAnswer = errors.New("the service has not answered an event as a Micro server does")

func (s *sender) Close() {
	s.close()
	s.running.Wait()
}

const (
	// maxTopics is how many topics a service may subscribe to, and maxEndpoints how
	// much is unfolded to find them, in bytes.
	maxTopics    = 256
	maxEndpoints = 2 << 20
)

// TopicsOf returns the topics in a service's tags: those of its subscribers, where
// Micro's registry has written them, and those of broker.TagPrefix. There are 256
// at most, of broker.MaxName bytes each.
func TopicsOf(tags []string) (topics []string) {
	left := &unfolding{maxEndpoints}
	for _, tag := range tags {
		topic, ok := topicOf(tag, left)
		if ok && len(topic) <= broker.MaxName && !slices.Contains(topics, topic) && len(topics) < maxTopics {
			topics = append(topics, topic)
		}
	}
	return topics
}

func topicOf(tag string, left *unfolding) (topic string, ok bool) {
	if topic, ok := broker.TopicOf(tag); ok {
		return strings.Clone(topic), true // the tags are not kept
	}
	kind, folded, _ := strings.Cut(tag, "-")
	if kind != "e" {
		return "", false
	}
	var endpoint struct{ Metadata map[string]string }
	text, ok := left.inflate(folded)
	ok = ok && json.Unmarshal(text, &endpoint) == nil && endpoint.Metadata["subscriber"] == "true"
	return endpoint.Metadata["topic"], ok
}
