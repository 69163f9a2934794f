package config

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// DestinationList is the names that are allowed. It is immutable and safe for concurrent
// use; the zero value allows none.
type DestinationList struct {
	all      bool
	patterns []destinationPattern
}

// destinationPattern is of a name and of a datacenter, each with * for any letters.
type destinationPattern struct{ name, datacenter string }

// NewDestinationList makes a DestinationList of patterns. Alone, * allows everything; in a pattern it
// stands for any part of a service's name or of a datacenter's:
//
//	db, team-*       services in the proxy's own datacenter
//	db@dc2, *@dc2    in another one
//	*.query          prepared queries
func NewDestinationList(patterns []string) (DestinationList, error) {
	var l DestinationList
	for _, text := range patterns {
		switch text = strings.ToLower(text); {
		case text == "*":
			l.all = true
			continue
		case len(text) > maxDestination:
			return DestinationList{}, fmt.Errorf("%.80q: %w", text, errLongDestination)
		case text == "":
			return DestinationList{}, errors.New("an empty pattern allows nothing: remove it")
		}
		name, datacenter, at := strings.Cut(text, "@")
		if err := checkDestination(strings.ReplaceAll(text, "*", "x")); err != nil {
			return DestinationList{}, fmt.Errorf("%.80q: %w", text, err)
		}
		if name == "" || at && (datacenter == "" || strings.Contains(datacenter, "@")) {
			return DestinationList{}, fmt.Errorf("%.80q: %w", text, errDatacenter)
		}
		if err := checkPattern(name); err != nil {
			return DestinationList{}, fmt.Errorf("%.80q: %w", text, err)
		}
		l.patterns = append(l.patterns, destinationPattern{name, datacenter})
	}
	return l, nil
}

// checkPattern refuses what would allow nothing, since applications' names are
// compared by what they lead to.
func checkPattern(name string) error {
	labels := strings.Split(name, ".")
	switch {
	case net.ParseIP(name) != nil:
		return errNameIsAddress
	case len(labels) > 2 && labels[len(labels)-1] == DefaultDNSDomain && dnsKinds[labels[1]] != "":
		return errDNSPattern
	}
	return nil
}

var (
	errNameIsAddress = errors.New("an address is nobody's name: name the service")
	errDNSPattern    = errors.New("a list has no names of Consul's DNS, but allows them all by the service's own: write db, db@dc2 or near.query")
)

// Allows reports whether d may be asked for. A pattern of services allows no
// prepared query and no namespace but the proxy's own, unless it says so.
func (l DestinationList) Allows(d Destination) bool {
	if l.all {
		return true
	}
	text, datacenter, _ := strings.Cut(d.Pattern(), "@")
	query := d.Type == PreparedQuery
	for _, p := range l.patterns {
		switch {
		case query != strings.HasSuffix(p.name, ".query"):
		case (d.Namespace != "" || d.Partition != "") && !strings.Contains(p.name, ".ns.") && !strings.Contains(p.name, ".ap."):
		case matchesPattern(p.name, text) && matchesPattern(p.datacenter, datacenter):
			return true
		}
	}
	return false
}

// matchesPattern reports whether s is pattern with something in place of each *.
func matchesPattern(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	if !ok {
		return false
	}
	for {
		part, more, again := strings.Cut(rest, "*")
		if !again {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
