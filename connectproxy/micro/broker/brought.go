package broker

import (
	"encoding/json"
	"errors"
	"net/http"
)

// errorID says in Micro's errors who made them.
const errorID = "connect-proxy"

// errorBody is an error in Micro's form.
type errorBody struct {
	ID     string `json:"id"`
	Code   int    `json:"code"`
	Detail string `json:"detail"`
	Status string `json:"status"`
}

var (
	errNobody  = errors.New("nobody subscribes to the topic at this instance")
	errNoEvent = errors.New("only events are taken here: messages with the header " + headerTopic)
)

// ServeEvent answers another proxy that brings an event, as a server of Micro
// does: with status 200, and an error in the header Micro-Error.
func (b *Broker) ServeEvent(w http.ResponseWriter, r *http.Request) {
	topic := r.Header.Get(headerTopic)
	if r.Method != http.MethodPost || topic == "" || r.Header.Get("Micro-Service") != "" {
		answerEvent(w, r, http.StatusBadRequest, errNoEvent)
		return
	}
	if err := b.check(&Event{Topic: topic}); err != nil {
		b.came(fromProxy, 0, err)
		answerEvent(w, r, StatusOf(err), err)
		return
	}
	body, err := b.read(w, r, MaxBody, b.bringing)
	taken := 0
	if err == nil {
		taken, err = b.Receive(r.Context(), Event{topic, headerOf(r), body})
	} else {
		b.came(fromProxy, 0, err)
	}
	switch {
	case err != nil:
		answerEvent(w, r, StatusOf(err), err)
	case taken == 0:
		answerEvent(w, r, http.StatusNotFound, errNobody)
	default:
		answerEvent(w, r, 0, nil)
	}
}

func answerEvent(w http.ResponseWriter, r *http.Request, code int, err error) {
	h := w.Header()
	for _, k := range []string{headerTopic, "Micro-Id"} {
		if v := r.Header.Get(k); v != "" {
			h.Set(k, v)
		}
	}
	if err != nil {
		text, _ := json.Marshal(errorBody{errorID, code, err.Error(), http.StatusText(code)})
		h.Set("Micro-Error", string(text))
	}
	w.WriteHeader(http.StatusOK)
}

// IsNobody reports whether the text of Micro-Error says that nobody subscribes to
// the topic of an event at that instance.
func IsNobody(text string) bool {
	var a errorBody
	return text != "" && json.Unmarshal([]byte(text), &a) == nil && a.ID == errorID && a.Code == http.StatusNotFound
}
