package byname

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"connect-proxy/config"
)

// access is who may ask for what. It is immutable.
type access struct {
	domain   string // of Consul's DNS
	route    config.Route
	keepPath bool
	remote   bool                   // other machines reach the port
	hosts    []string               // names that are the proxy's own
	all      config.DestinationList // for clients who give no name
	users    map[string]user        // empty where any name is taken
}

// user is an application that says who it is.
type user struct {
	password string // empty takes any
	allow    config.DestinationList
}

func newAccess(c config.ByName) (*access, error) {
	a := &access{domain: c.DNSDomain, route: c.Route, keepPath: c.KeepPath, remote: c.RemoteClients, hosts: append([]string{c.Bind.Host}, c.HostNames...)}
	var err error
	if a.all, err = config.NewDestinationList(c.Allow); err != nil {
		return nil, fmt.Errorf("by_name.allow: %w", err)
	}
	if len(c.Users) > 0 {
		a.users = make(map[string]user, len(c.Users))
	}
	for _, u := range c.Users {
		allow, err := config.NewDestinationList(u.Allow)
		if err != nil {
			return nil, fmt.Errorf("by_name.users: allow of %q: %w", u.Name, err)
		}
		a.users[u.Name] = user{u.Password, allow}
	}
	return a, nil
}

// admits reports whether a client may go by that name.
func (a *access) admits(name, password string) bool {
	if len(a.users) == 0 || name == "" {
		return true
	}
	u, ok := a.users[name]
	if !ok || u.password == "" {
		return ok
	}
	given, want := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(u.password))
	return subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

// maxUser is how long the name of a user may be, in bytes: SOCKS5's bound (RFC 1929 2).
const maxUser = 255

// printable is a name that a client has given, fit for a log. It keeps nothing of what
// name is a part of.
func printable(name string) string {
	return strings.Clone(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, name))
}

// listOf is what a client may ask for that goes by that name.
func (a *access) listOf(name string) config.DestinationList {
	if u, ok := a.users[name]; ok && name != "" {
		return u.allow
	}
	if len(a.users) > 0 && name != "" {
		return config.DestinationList{} // a user who is none any more
	}
	return a.all
}
