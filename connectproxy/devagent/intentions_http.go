package devagent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// intentionView is an intention as it is shown and as it is sent. What an
// intention made in the old way has more is left out of the others.
type intentionView struct {
	ID              string  `json:",omitempty"`
	Description     *string `json:",omitempty"`
	SourceNS        string
	SourceName      string
	DestinationNS   string
	DestinationName string
	SourceType      string
	Action          string             `json:",omitempty"`
	DefaultAddr     *string            `json:",omitempty"`
	DefaultPort     *int               `json:",omitempty"`
	Meta            *map[string]string `json:",omitempty"`
	Precedence      int
	CreatedAt       *time.Time `json:",omitempty"`
	UpdatedAt       *time.Time `json:",omitempty"`
	CreateIndex     uint64
	ModifyIndex     uint64
}

func (a *Agent) intentionView(i intention) intentionView {
	v := intentionView{
		ID:       i.id,
		SourceNS: "default", SourceName: i.source,
		DestinationNS: "default", DestinationName: i.destination,
		SourceType: "consul", Action: i.action,
		Precedence:  i.precedence(),
		CreateIndex: i.created, ModifyIndex: i.modified,
	}
	if i.description != "" {
		v.Description = &i.description
	}
	if i.id != "" {
		if i.meta == nil {
			i.meta = map[string]string{}
		}
		v.Meta, v.CreatedAt, v.UpdatedAt = &i.meta, &i.since, &i.at
	}
	if a.o.Managed {
		v.Description, v.DefaultAddr, v.DefaultPort = &i.description, new(string), new(int)
	}
	return v
}

func (a *Agent) intentionViews(which func(intention) bool) []intentionView {
	var views []intentionView
	for _, i := range a.intentions {
		if which(i) {
			views = append(views, a.intentionView(i))
		}
	}
	return views
}

func (a *Agent) listIntentions(*http.Request) answer {
	views := a.intentionViews(func(intention) bool { return true })
	if views == nil {
		views = []intentionView{}
	}
	return answer{body: views, index: a.intentionsIndex, headers: headers{meta: true}}
}

func (a *Agent) matchIntentions(r *http.Request) answer {
	q := r.URL.Query()
	by, names := q.Get("by"), q["name"]
	switch {
	case by == "":
		return answer{status: http.StatusInternalServerError, text: "required query parameter 'by' not set"}
	case by != "source" && by != "destination":
		return answer{status: http.StatusInternalServerError, text: "'by' parameter must be one of 'source' or 'destination'"}
	case len(names) == 0:
		return answer{status: http.StatusInternalServerError, text: "required query parameter 'name' not set"}
	}
	found := map[string][]intentionView{}
	for _, name := range names {
		found[name] = a.intentionViews(func(i intention) bool {
			return by == "destination" && i.to(name) || by == "source" && i.from(name)
		})
	}
	if a.o.Managed {
		return answer{body: found} // Consul 1.5 says no index here
	}
	return answer{body: found, index: a.intentionsIndex, headers: headers{meta: true, consistency: true}}
}

func (a *Agent) checkIntention(r *http.Request) answer {
	q := r.URL.Query()
	for _, need := range []string{"source", "destination"} {
		if q.Get(need) == "" {
			return answer{status: http.StatusInternalServerError, text: "required query parameter '" + need + "' not set"}
		}
	}
	return answer{body: map[string]bool{"Allowed": a.decide(q.Get("source"), q.Get("destination")).Authorized}}
}

// readIntention reads what a client sends of one. Where the path names its two
// ends, they are those.
func (a *Agent) readIntention(r *http.Request, source, destination string) (intention, answer, bool) {
	var v struct {
		intentionView
		Permissions []json.RawMessage
	}
	if problem, ok := a.decode(r, &v); !ok {
		return intention{}, problem, false
	}
	i := intention{source: cmp.Or(source, v.SourceName), destination: cmp.Or(destination, v.DestinationName), action: v.Action}
	if len(v.Permissions) > 0 {
		return i, noPermissions(i.destination), false
	}
	if v.Description != nil {
		i.description = *v.Description
	}
	if v.Meta != nil {
		i.meta = *v.Meta
	}
	return i, answer{}, true
}

// store puts an intention that a client sent, and gives done if it could.
func (a *Agent) store(i intention, done any) answer {
	if problem := i.problem(); problem != "" {
		if !a.o.Managed {
			problem = "Sources[0]." + problem
		}
		return answer{status: http.StatusInternalServerError, text: problem}
	}
	if !a.put(i) {
		return full("intentions")
	}
	return answer{body: done}
}

// noPermissions refuses an intention that looks into requests: every service is
// of TCP here, and has none.
func noPermissions(destination string) answer {
	return answer{status: http.StatusInternalServerError, text: fmt.Sprintf(
		"service %q has protocol \"tcp\", which is incompatible with L7 intentions permissions", destination)}
}

// exact names an intention by its two ends.
func exact(r *http.Request) (source, destination, problem string) {
	q := r.URL.Query()
	source, destination = q.Get("source"), q.Get("destination")
	switch {
	case source == "":
		problem = "required query parameter 'source' not set"
	case destination == "":
		problem = "required query parameter 'destination' not set"
	}
	return source, destination, problem
}

func (a *Agent) getExact(r *http.Request) answer {
	source, destination, problem := exact(r)
	if problem != "" {
		return a.badRequest(problem)
	}
	n := a.find(source, destination)
	if n < 0 {
		return answer{status: http.StatusNotFound, text: "Intention not found"}
	}
	return answer{body: a.intentionView(a.intentions[n])}
}

func (a *Agent) putExact(r *http.Request) answer {
	source, destination, problem := exact(r)
	if problem != "" {
		return a.badRequest(problem)
	}
	i, wrong, ok := a.readIntention(r, source, destination)
	if !ok {
		return wrong
	}
	return a.store(i, true)
}

func (a *Agent) deleteExact(r *http.Request) answer {
	source, destination, problem := exact(r)
	if problem != "" {
		return a.badRequest(problem)
	}
	a.drop(func(i intention) bool { return i.between(source, destination) })
	return answer{body: true}
}

// What follows is the old way, by ID, which Consul 1.5 has alone.

func (a *Agent) createIntention(r *http.Request) answer {
	i, wrong, ok := a.readIntention(r, "", "")
	if !ok {
		return wrong
	}
	if a.find(i.source, i.destination) >= 0 {
		return answer{status: http.StatusInternalServerError, text: "duplicate intention found"}
	}
	i.id = newUUID()
	return a.store(i, map[string]string{"ID": i.id})
}

func (a *Agent) intentionByID(r *http.Request) int {
	id := r.PathValue("id")
	return slices.IndexFunc(a.intentions, func(i intention) bool { return i.id == id && id != "" })
}

func (a *Agent) getIntention(r *http.Request) answer {
	n := a.intentionByID(r)
	if n < 0 {
		return answer{status: http.StatusNotFound, text: "Intention not found"}
	}
	return answer{body: a.intentionView(a.intentions[n])}
}

func (a *Agent) updateIntention(r *http.Request) answer {
	n := a.intentionByID(r)
	if n < 0 {
		return answer{status: http.StatusInternalServerError, text: "Cannot modify non-existent intention: '" + r.PathValue("id") + "'"}
	}
	i, wrong, ok := a.readIntention(r, "", "")
	if !ok {
		return wrong
	}
	was := a.intentions[n]
	if other := a.find(i.source, i.destination); other >= 0 && other != n {
		return answer{status: http.StatusInternalServerError, text: "duplicate intention found"}
	}
	if problem := i.problem(); problem != "" {
		return answer{status: http.StatusInternalServerError, text: problem}
	}
	i.id = was.id
	a.intentions = slices.Delete(a.intentions, n, n+1)
	return a.store(i, map[string]string{"ID": i.id})
}

func (a *Agent) deleteIntention(r *http.Request) answer {
	id := r.PathValue("id")
	a.drop(func(i intention) bool { return i.id == id })
	return answer{body: true}
}
