package connectproxy

import (
	"reflect"

	"connect-proxy/config"
)

// changes is how to get from the listeners that run to the ones wanted, in the
// order of its fields.
type changes struct {
	// stopFirst hold an address that something in start wants, so nothing can
	// be started before they are gone.
	stopFirst []key
	start     []*spec
	update    []*spec
	stop      []key
	// same say what the running ones say already.
	same []*spec
}

// diff compares listeners by key.
func diff(running, wanted []*spec) changes {
	old := make(map[key]*spec, len(running))
	for _, s := range running {
		old[s.key] = s
	}
	var c changes
	kept := make(map[key]bool, len(wanted))
	for _, s := range wanted {
		have, ok := old[s.key]
		switch {
		case !ok:
			c.start = append(c.start, s)
			continue
		case reflect.DeepEqual(have, s):
			c.same = append(c.same, s)
		default:
			c.update = append(c.update, s)
		}
		kept[s.key] = true
	}
	for _, s := range running {
		switch {
		case kept[s.key]:
		case wantedByAny(s.bind, c.start):
			c.stopFirst = append(c.stopFirst, s.key)
		default:
			c.stop = append(c.stop, s.key)
		}
	}
	return c
}

func wantedByAny(a config.Address, starting []*spec) bool {
	for _, s := range starting {
		if a.Overlaps(s.bind) {
			return true
		}
	}
	return false
}
