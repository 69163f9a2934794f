package adminapi

import (
	"maps"
	"net/http"
	"time"

	"connect-proxy/connectproxy/admin"
	"connect-proxy/connectproxy/events"
)

// Options say what is served.
type Options struct {
	// Source is the proxy. Required.
	Source Source
	// Events is what has happened lately; nil means that nothing is known.
	Events *events.History
	// Level is the log's; nil means that it cannot be told or changed.
	Level Level
	// Metrics answers /stats?format=prometheus; nil where there is none.
	Metrics http.Handler
}

// Level is the level of a log, which can be changed while it is written.
//
// Its methods must be safe for concurrent use.
type Level interface {
	// Get returns the level in force, by a name that Set takes.
	Get() string
	// Set takes trace, debug, info, warn, error or off. Any other level
	// is an error, which is shown to the client.
	Set(level string) error
}

// Pages returns what an admin.Server shows of o, with admin.Profiles. It does not
// bound what slow clients hold: see Bounded.
func Pages(o Options) admin.Pages {
	if o.Events == nil {
		o.Events = events.New()
	}
	s := o.Source
	pages := admin.Pages{
		"GET /proxy":        answer(func(*http.Request) any { return s.Proxy() }),
		"GET /connections":  http.HandlerFunc(o.connections),
		"GET /upstreams":    answer(func(*http.Request) any { return s.Upstreams() }),
		"GET /certificates": answer(func(*http.Request) any { return s.Certificates() }),
		"GET /intentions":   answer(func(*http.Request) any { return s.Intentions() }),
		"GET /config":       answer(func(*http.Request) any { return s.Config() }),
		"GET /events":       http.HandlerFunc(o.events),
		"GET /reasons":      answer(func(*http.Request) any { return Reasons }),

		"POST /connections/close": http.HandlerFunc(o.closeConnection),
	}
	if o.Level != nil {
		pages["GET /loglevel"] = http.HandlerFunc(o.level)
		pages["POST /loglevel"] = http.HandlerFunc(o.setLevel)
		pages["POST /logging"] = http.HandlerFunc(o.setLevel) // Envoy's
	}
	maps.Copy(pages, o.envoys())
	maps.Copy(pages, dashboard())
	for pattern, h := range admin.Profiles() {
		pages[pattern] = h
	}
	return pages
}

// answer gives what tell returns as JSON.
func answer(tell func(*http.Request) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admin.WriteJSON(w, http.StatusOK, tell(r))
	})
}

const (
	// pageTime bounds how long a client may take over one page, profileTime
	// over a profile, which takes as long as it was asked to.
	pageTime    = 15 * time.Second
	profileTime = 10 * time.Minute
	// maxAnswers is how many pages are made at a time, for all of their
	// readers; more wait for patience.
	maxAnswers = 8
	patience   = 5 * time.Second
)

// Bounded returns pages with limits on what slow clients hold: eight answers are
// made at a time, others wait for 5 seconds and get status 503 then, and each is
// read within 15 seconds; profiles have 10 minutes and do not count. It is for all
// pages of a Server at once, since a deadline that one has set holds for the next
// on the same connection. notRead is told of pages that were given up, by their
// path, and why; it must be safe for concurrent use and may be nil.
func Bounded(pages admin.Pages, notRead func(page, problem string)) admin.Pages {
	if notRead == nil {
		notRead = func(string, string) {}
	}
	places := make(chan struct{}, maxAnswers)
	out := make(admin.Pages, len(pages))
	for pattern, h := range pages {
		if _, profile := admin.Profiles()[pattern]; profile {
			out[pattern] = within(profileTime, h, notRead)
		} else {
			out[pattern] = within(pageTime, placed(places, h, notRead), notRead)
		}
	}
	return out
}

// within gives a client d for its question and to take the answer.
func within(d time.Duration, h http.Handler, notRead func(page, problem string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		until := time.Now().Add(d)
		// Only a connection that is gone has none, or a test's recorder.
		_ = c.SetReadDeadline(until)
		_ = c.SetWriteDeadline(until)
		h.ServeHTTP(w, r)
		if !time.Now().Before(until) {
			notRead(r.URL.Path, "its client did not take it within "+d.String())
		}
	})
}

// placed waits for one of the places.
func placed(places chan struct{}, h http.Handler, notRead func(page, problem string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wait := time.NewTimer(patience)
		defer wait.Stop()
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			h.ServeHTTP(w, r)
		case <-r.Context().Done():
		case <-wait.C:
			notRead(r.URL.Path, "the pages that are made at a time are asked for by others, who do not read them")
			http.Error(w, "too many pages are asked for at a time: try again", http.StatusServiceUnavailable)
		}
	})
}
