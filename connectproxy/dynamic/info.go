package dynamic

import (
	"slices"
	"strings"
	"time"

	"connect-proxy/config"
)

// Info describes a destination that is kept.
type Info struct {
	// Destination is what was named.
	Destination config.Destination
	// Upstream is it as open returned it; it may be closed at any time.
	Upstream Upstream
	// Users counts its open connections and those being dialled.
	Users int
	// Used is when one of them last began or ended.
	Used time.Time
}

// List returns the destinations that are kept, sorted by name.
func (u *Upstreams) List() []Info {
	u.mu.Lock()
	defer u.unlock()
	all := make([]Info, 0, u.kept)
	for _, e := range u.entries {
		if e.kept {
			all = append(all, Info{e.to, e.Upstream, e.users, e.used})
		}
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Destination.String(), b.Destination.String()) })
	return all
}

// Keeps reports whether d is kept: it has been opened, and had an instance.
func (u *Upstreams) Keeps(d config.Destination) bool {
	u.mu.Lock()
	defer u.unlock()
	e := u.entries[d]
	return e != nil && e.kept
}
