package devagent

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// write sends an answer with the headers of the version that is played.
func (a *Agent) write(w http.ResponseWriter, now answer) {
	if now.elsewhere {
		a.noEndpoint(w)
		return
	}
	h := w.Header()
	h.Set("Vary", "Accept-Encoding")
	if !a.o.Managed {
		h.Set("X-Consul-Default-Acl-Policy", a.o.DefaultPolicy)
	}
	a.setHeaders(h, now)
	switch {
	case now.status != 0:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(now.status)
		_, _ = w.Write([]byte(now.text)) // an error is the client's going away
		return
	case now.body == nil:
		return
	}
	h.Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "    ") // people read it
	_ = e.Encode(now.body)
}

func (a *Agent) setHeaders(h http.Header, now answer) {
	if now.headers.meta {
		h.Set("X-Consul-Knownleader", strconv.FormatBool(!now.headers.leaderless))
		h.Set("X-Consul-Lastcontact", "0")
		if !a.o.Managed {
			h.Set("X-Consul-Query-Backend", "blocking-query")
		}
	}
	if now.headers.consistency {
		h.Set("X-Consul-Effective-Consistency", "leader")
	}
	if now.headers.cached {
		h.Set("X-Cache", "HIT")
		h.Set("Age", "0")
	}
	if now.index > 0 {
		h.Set("X-Consul-Index", strconv.FormatUint(now.index, 10))
	}
	if now.hash != "" {
		h.Set("X-Consul-Contenthash", now.hash)
	}
}

// badPrefix is what most 400s of Consul 1.5 begin with.
const badPrefix = "Bad request: "

// noEndpoint answers a path that is not the API's.
func (a *Agent) noEndpoint(w http.ResponseWriter) {
	if a.o.Managed {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte("Invalid URL path: not a recognized HTTP API endpoint"))
}

// badRequest is a 400 in the words of the version that is played.
func (a *Agent) badRequest(text string) answer {
	if a.o.Managed {
		text = badPrefix + text
	}
	return answer{status: http.StatusBadRequest, text: text}
}

// decode reads a request's body, or says what is wrong with it.
func (a *Agent) decode(r *http.Request, into any) (answer, bool) {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return a.badRequest("Request decode failed: " + err.Error()), false
	}
	return answer{}, true
}

// full is what a client is told that wants to store more than there is room for.
func full(what string) answer {
	return answer{status: http.StatusInsufficientStorage, text: "this agent holds no more " + what}
}

// err is an answer that is not a good one.
func (n answer) err() error {
	if n.status == 0 {
		return nil
	}
	return errors.New(n.text)
}
