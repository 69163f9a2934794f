package fakeagent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Intention says what one service may do to another.
type Intention struct {
	// Source and Destination are names, or "*" for all.
	Source, Destination string
	// Action is "allow" or "deny", and empty for an intention that looks into
	// requests, which has Permissions instead.
	Action string

	created, modified uint64
	at                time.Time
}

// SetIntention adds an intention or replaces the one between the same two.
func (a *Agent) SetIntention(i Intention) {
	a.change(func() {
		i.created, i.modified, i.at = a.index, a.index, time.Now().UTC()
		same := func(x Intention) bool { return x.Source == i.Source && x.Destination == i.Destination }
		if n := slices.IndexFunc(a.intentions, same); n >= 0 {
			i.created = a.intentions[n].created
			a.intentions[n] = i
		} else {
			a.intentions = append(a.intentions, i)
		}
		slices.SortStableFunc(a.intentions, func(x, y Intention) int { return cmp.Compare(y.precedence(), x.precedence()) })
		a.intentionsIndex = a.index
	})
}

// DeleteIntention removes the intention between the two.
func (a *Agent) DeleteIntention(source, destination string) {
	a.change(func() {
		a.intentions = slices.DeleteFunc(a.intentions, func(x Intention) bool {
			return x.Source == source && x.Destination == destination
		})
		a.intentionsIndex = a.index
	})
}

// precedence is Consul's number.
func (i Intention) precedence() int {
	switch {
	case i.Destination != "*" && i.Source != "*":
		return 9
	case i.Destination != "*":
		return 8
	case i.Source != "*":
		return 6
	}
	return 5
}

type intentionBody struct {
	ID              string  `json:",omitempty"`
	Description     *string `json:",omitempty"`
	SourceNS        string
	SourceName      string
	DestinationNS   string
	DestinationName string
	SourceType      string
	Action          string             `json:",omitempty"`
	Permissions     []map[string]any   `json:",omitempty"`
	DefaultAddr     *string            `json:",omitempty"`
	DefaultPort     *int               `json:",omitempty"`
	Meta            *map[string]string `json:",omitempty"`
	Precedence      int
	CreatedAt       *time.Time `json:",omitempty"`
	UpdatedAt       *time.Time `json:",omitempty"`
	CreateIndex     uint64
	ModifyIndex     uint64
}

func (a *Agent) body(i Intention) intentionBody {
	b := intentionBody{
		SourceNS: "default", SourceName: i.Source,
		DestinationNS: "default", DestinationName: i.Destination,
		SourceType:  "consul",
		Action:      i.Action,
		Precedence:  i.precedence(),
		CreateIndex: i.created, ModifyIndex: i.modified,
	}
	if i.Action == "" {
		b.Permissions = []map[string]any{{"Action": "allow", "HTTP": map[string]any{"PathPrefix": "/"}}}
	}
	if a.managed {
		b.ID = i.id()
		b.Description, b.DefaultAddr, b.DefaultPort = new(string), new(string), new(int)
		b.Meta = &map[string]string{}
		b.CreatedAt, b.UpdatedAt = &i.at, &i.at
	}
	return b
}

func (i Intention) id() string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i.created) }

func (a *Agent) matchAnswer(r *http.Request, _ question) answer {
	names := r.URL.Query()["name"]
	if r.URL.Query().Get("by") == "" || len(names) == 0 {
		return answer{status: http.StatusBadRequest, text: "required query parameter not set"}
	}
	found := map[string][]intentionBody{}
	for _, name := range names {
		found[name] = nil
		for _, i := range a.intentions {
			if i.Destination == name || i.Destination == "*" {
				found[name] = append(found[name], a.body(i))
			}
		}
	}
	if a.managed {
		// Consul 1.5 blocks on an index that is given but never says one.
		return answer{body: found}
	}
	return answer{body: found, index: a.intentionsIndex, headers: headers{meta: true, consistency: true}}
}

func (a *Agent) intentionsAnswer(*http.Request, question) answer {
	all := []intentionBody{}
	for _, i := range a.intentions {
		all = append(all, a.body(i))
	}
	return answer{body: all, index: a.intentionsIndex, headers: headers{meta: true}}
}

type authorizeRequest struct {
	Target           string
	ClientCertURI    string
	ClientCertSerial string
}

type authorizeBody struct {
	Authorized bool
	Reason     string
}

func (a *Agent) authorizeAnswer(r *http.Request, _ question) answer {
	var req authorizeRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return a.badRequest("Request decode failed: " + err.Error())
	}
	if req.Target == "" {
		return a.badRequest("Target service must be specified")
	}
	u, err := url.Parse(req.ClientCertURI)
	if err != nil || u.Scheme != "spiffe" || !strings.Contains(u.Path, "/svc/") {
		return a.badRequest("ClientCertURI not a valid Connect identifier")
	}
	source := u.Path[strings.LastIndex(u.Path, "/")+1:]
	return answer{body: a.judge(source, req.Target), headers: headers{cached: true}}
}

func (a *Agent) badRequest(text string) answer {
	if a.managed {
		text = "Bad request: " + text
	}
	return answer{status: http.StatusBadRequest, text: text}
}

func (a *Agent) judge(source, target string) authorizeBody {
	for _, i := range a.intentions {
		if i.Source != source && i.Source != "*" || i.Destination != target && i.Destination != "*" {
			continue
		}
		b := authorizeBody{Authorized: i.Action == "allow"}
		ends := fmt.Sprintf("default/%s => default/%s", i.Source, i.Destination)
		action := strings.ToUpper(i.Action)
		switch {
		case a.managed:
			b.Reason = fmt.Sprintf("Matched intention: %s %s (ID: %s, Precedence: %d)", action, ends, i.id(), i.precedence())
		case i.Action == "":
			b.Reason = fmt.Sprintf("Matched L7 intention: %s (Precedence: %d)", ends, i.precedence())
		default:
			b.Reason = fmt.Sprintf("Matched L4 intention: %s (Precedence: %d, Action: %s)", ends, i.precedence(), action)
		}
		return b
	}
	return authorizeBody{Authorized: a.policy == "allow", Reason: "Default behavior configured by ACLs"}
}
