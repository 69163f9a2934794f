package devagent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// wildcard stands for every service.
const wildcard = "*"

// intention says what one service may do to another.
type intention struct {
	// id is that of an intention made in the old way, empty otherwise.
	id                  string
	source, destination string
	action              string // "allow" or "deny"
	description         string
	meta                map[string]string

	created, modified uint64
	at, since         time.Time
}

// precedence is Consul's number.
func (i intention) precedence() int {
	switch {
	case i.destination != wildcard && i.source != wildcard:
		return 9
	case i.destination != wildcard:
		return 8
	case i.source != wildcard:
		return 6
	}
	return 5
}

func (i intention) between(source, destination string) bool {
	return i.source == source && i.destination == destination
}

// to reports whether the intention is about connections to the service.
func (i intention) to(destination string) bool {
	return i.destination == destination || i.destination == wildcard
}

// from reports whether the intention is about connections of the service.
func (i intention) from(source string) bool {
	return i.source == source || i.source == wildcard
}

// problem says what keeps an intention from being stored; empty is nothing.
func (i intention) problem() string {
	switch {
	case i.source == "" || i.destination == "":
		return "SourceName and DestinationName must be set"
	case len(i.source) > maxName || len(i.destination) > maxName:
		return "a name is too long"
	case strings.Contains(i.source, wildcard) && i.source != wildcard,
		strings.Contains(i.destination, wildcard) && i.destination != wildcard:
		return "a name is a service's, or * for all"
	case i.action != "allow" && i.action != "deny":
		return "Action must be set to 'allow' or 'deny'"
	}
	return ""
}

// put stores an intention in place of the one between the same two. It says
// whether there was room.
func (a *Agent) put(i intention) bool {
	n := a.find(i.source, i.destination)
	if n < 0 && len(a.intentions) >= maxIntentions {
		return false
	}
	index, now := a.next(), time.Now().UTC()
	i.created, i.modified, i.at, i.since = index, index, now, now
	if n >= 0 {
		was := a.intentions[n]
		i.id, i.created, i.since = cmp.Or(i.id, was.id), was.created, was.since
		a.intentions[n] = i
	} else {
		a.intentions = append(a.intentions, i)
	}
	slices.SortStableFunc(a.intentions, func(x, y intention) int {
		return cmp.Or(cmp.Compare(y.precedence(), x.precedence()),
			strings.Compare(x.source, y.source), strings.Compare(x.destination, y.destination))
	})
	a.intentionsIndex = index
	return true
}

// find gives the place of the intention between the two, or -1.
func (a *Agent) find(source, destination string) int {
	return slices.IndexFunc(a.intentions, func(i intention) bool { return i.between(source, destination) })
}

// drop deletes every intention that which says yes to.
func (a *Agent) drop(which func(intention) bool) {
	before := len(a.intentions)
	a.intentions = slices.DeleteFunc(a.intentions, which)
	if len(a.intentions) != before {
		a.intentionsIndex = a.next()
	}
}

// authorization is what becomes of a connection, and why.
type authorization struct {
	Authorized bool
	Reason     string
}

// decide takes the first intention by precedence, and the default policy where
// there is none.
func (a *Agent) decide(source, target string) authorization {
	for _, i := range a.intentions {
		if i.from(source) && i.to(target) {
			return authorization{Authorized: i.action == "allow", Reason: a.reason(i)}
		}
	}
	d := authorization{Authorized: a.o.DefaultPolicy == "allow", Reason: "Default behavior configured by ACLs"}
	if a.o.Managed && d.Authorized {
		d.Reason = "ACLs disabled, access is allowed by default"
	}
	return d
}

func (a *Agent) reason(i intention) string {
	ends := fmt.Sprintf("default/%s => default/%s", i.source, i.destination)
	action := strings.ToUpper(i.action)
	if a.o.Managed {
		return fmt.Sprintf("Matched intention: %s %s (ID: %s, Precedence: %d)", action, ends, i.id, i.precedence())
	}
	return fmt.Sprintf("Matched L4 intention: %s (Precedence: %d, Action: %s)", ends, i.precedence(), action)
}
