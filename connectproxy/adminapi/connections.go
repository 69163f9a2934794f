package adminapi

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"connect-proxy/connectproxy/admin"
	"connect-proxy/connectproxy/events"
)

// Connections is the answer of /connections.
type Connections struct {
	// Total counts the open connections, whatever ?limit= leaves out.
	Total int `json:"total"`
	// Pairs has the sums of the open connections by source and destination, at
	// most 200, those with most connections first.
	Pairs []Pair `json:"pairs"`
	// Connections are the newest first, ?limit= of them at most.
	Connections []Connection `json:"connections"`
}

// Pair is the sum of the open connections from one service to another.
type Pair struct {
	// Direction, Source and Destination are as a Connection has them.
	Direction   string `json:"direction"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	// Connections counts them; the bytes are those of the open ones alone.
	Connections        int   `json:"connections"`
	ToDestinationBytes int64 `json:"to_destination_bytes"`
	ToSourceBytes      int64 `json:"to_source_bytes"`
}

// maxPairs bounds the pairs of an answer.
const maxPairs = 200

func (o Options) connections(w http.ResponseWriter, r *http.Request) {
	limit := -1
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			http.Error(w, "limit: give a count, as /connections?limit=100", http.StatusBadRequest)
			return
		}
		limit = n
	}
	all := o.Source.Connections()
	slices.SortFunc(all, func(a, b Connection) int { return cmp.Compare(b.ID, a.ID) })
	c := Connections{Total: len(all), Pairs: pairsOf(all), Connections: all}
	if limit >= 0 && limit < len(all) {
		c.Connections = all[:limit]
	}
	if c.Connections == nil {
		c.Connections = []Connection{}
	}
	admin.WriteJSON(w, http.StatusOK, c)
}

func pairsOf(all []Connection) []Pair {
	type key struct{ direction, source, destination string }
	at := make(map[key]int)
	pairs := []Pair{}
	for i := range all {
		c := &all[i]
		k := key{c.Direction, c.Source, c.Destination}
		n, ok := at[k]
		if !ok {
			n = len(pairs)
			at[k] = n
			pairs = append(pairs, Pair{Direction: c.Direction, Source: c.Source, Destination: c.Destination})
		}
		p := &pairs[n]
		p.Connections++
		p.ToDestinationBytes += c.ToDestinationBytes
		p.ToSourceBytes += c.ToSourceBytes
	}
	slices.SortStableFunc(pairs, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections),
			cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
	})
	return pairs[:min(len(pairs), maxPairs)]
}

func (o Options) closeConnection(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.URL.Query().Get("id"), 10, 64)
	if err != nil {
		http.Error(w, "id: give a connection's, as /connections/close?id=17", http.StatusBadRequest)
		return
	}
	if !o.Source.CloseConnection(id) {
		http.Error(w, "no open connection has this ID: it has ended", http.StatusNotFound)
		return
	}
	admin.WriteJSON(w, http.StatusOK, map[string]uint64{"closed": id})
}

// Events is the answer of /events.
type Events struct {
	// Last is the ID of the newest event, for the next question's ?since=; where
	// there is none newer it is that of this question, zero without one.
	Last uint64 `json:"last"`
	// Events are those after ?since=, the oldest first.
	Events []events.Event `json:"events"`
}

func (o Options) events(w http.ResponseWriter, r *http.Request) {
	var since uint64
	if text := r.FormValue("since"); text != "" {
		var err error
		if since, err = strconv.ParseUint(text, 10, 64); err != nil {
			http.Error(w, "since: give an event's ID, as /events?since=17", http.StatusBadRequest)
			return
		}
	}
	list := Events{Last: since, Events: o.Events.Since(since)}
	if n := len(list.Events); n > 0 {
		list.Last = list.Events[n-1].ID
	}
	admin.WriteJSON(w, http.StatusOK, list)
}

// LogLevel is the answer of /loglevel.
type LogLevel struct {
	// Level is trace, debug, info, warn, error or off.
	Level string `json:"level"`
}

func (o Options) level(w http.ResponseWriter, _ *http.Request) {
	admin.WriteJSON(w, http.StatusOK, LogLevel{o.Level.Get()})
}

func (o Options) setLevel(w http.ResponseWriter, r *http.Request) {
	if err := o.Level.Set(r.URL.Query().Get("level")); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.level(w, r)
}
