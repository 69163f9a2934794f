package config

import (
	"fmt"
	"os"
	"strconv"
)

// ByName is a listener whose clients say by name where they want to go: by
// SOCKS5, HTTP CONNECT, or plain HTTP requests.
type ByName struct {
	// Bind is on loopback or a unix socket unless RemoteClients is set.
	Bind Address
	// RemoteClients is set if Bind may be an address that other machines reach.
	RemoteClients bool
	// HostNames are names of the proxy under which requests may be sent.
	HostNames []string
	// Allow has the names that clients may ask for who give no user name;
	// DestinationList says how they are written. Empty allows none, and takes a list
	// that says so or Users: nil alone is a mistake.
	Allow []string
	// Users are clients who give a name. Where there are none, any user name is
	// taken, and Allow holds for all.
	Users []ByNameUser
	// Route says which part of a plain HTTP request names the destination; empty
	// means RouteHost.
	Route Route
	// KeepPath leaves a path segment that names the destination in the path.
	KeepPath bool
	// DNSDomain is that of Consul's DNS; empty means DefaultDNSDomain.
	DNSDomain string
	// MaxConnections is the most clients at a time; zero means no limit.
	MaxConnections int
}

// ByNameUser is an application that says who it is.
type ByNameUser struct {
	// Name is the user name, of 1 to 255 bytes.
	Name string
	// Password is what it must say; empty takes any.
	Password string
	// Allow has the names that it may ask for. Empty allows none; nil is a mistake.
	Allow []string
}

// Route is a part of an HTTP request.
type Route string

const (
	// RouteHost is the host of the request's target.
	RouteHost Route = "host"
	// RoutePath is the first segment of its path.
	RoutePath Route = "path"
)

// byNameKeys stand in the block by_name.
var byNameKeys = keys[ByName]{
	"bind_address":     into(func(b *ByName) *string { return &b.Bind.Host }, value.host),
	"bind_port":        into(func(b *ByName) *int { return &b.Bind.Port }, value.count),
	"bind_socket_path": into(func(b *ByName) *string { return &b.Bind.Path }, value.text),
	"bind_socket_mode": into(func(b *ByName) *os.FileMode { return &b.Bind.Mode }, value.fileMode),
	"remote_clients":   into(func(b *ByName) *bool { return &b.RemoteClients }, value.yesNo),
	"host_names":       into(func(b *ByName) *[]string { return &b.HostNames }, value.texts),
	"allow":            into(func(b *ByName) *[]string { return &b.Allow }, value.texts),
	"users":            hidden(setting[ByName]{set: (*ByName).setUsers}),
	"route":            into(func(b *ByName) *Route { return &b.Route }, named[Route]),
	"keep_path":        into(func(b *ByName) *bool { return &b.KeepPath }, value.yesNo),
	"dns_domain":       into(func(b *ByName) *string { return &b.DNSDomain }, value.text),
	"max_connections":  counted(func(b *ByName) *int { return &b.MaxConnections }),
}

// hidden is a setting that may hold secrets.
func hidden[T any](s setting[T]) setting[T] {
	s.secret = true
	return s
}

func (c *Config) byName() *ByName {
	if c.ByName == nil {
		c.ByName = &ByName{}
	}
	return c.ByName
}

// setUsers leaves none where v is not a list of users, and not nil: they were
// given, so it is not Allow that is missing.
func (b *ByName) setUsers(v value) (err error) {
	if b.Users, err = v.users(); err != nil {
		b.Users = []ByNameUser{}
	}
	return err
}

// users reads a list of blocks.
func (v value) users() ([]ByNameUser, error) {
	list, ok := v.list()
	if !ok {
		return nil, errUsers
	}
	all := make([]ByNameUser, 0, len(list))
	for _, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, errUsers
		}
		var u ByNameUser
		var err error
		for key, raw := range fold(fields) {
			switch field := (value{raw: raw, agent: v.agent}); key {
			case "name":
				u.Name, err = field.text()
			case "password":
				u.Password, err = field.text()
			case "allow":
				u.Allow, err = field.texts()
			default:
				err = fmt.Errorf("%s is no key of a user: use name, password and allow", excerpt(key))
			}
			if err != nil {
				return nil, err
			}
		}
		all = append(all, u)
	}
	return all, nil
}

func (b ByName) withDefaults() ByName {
	b.Bind = b.Bind.onLoopback()
	if b.Route == "" {
		b.Route = RouteHost
	}
	if b.DNSDomain == "" {
		b.DNSDomain = DefaultDNSDomain
	}
	return b
}

func (v *checks) byName(b ByName) {
	const field = "by_name."
	v.clients(field, b.Bind, b.RemoteClients, "is let into the mesh as this service")
	if b.Users == nil {
		v.requireList(field+"allow", b.Allow)
	}
	v.destinations(field+"allow", b.Allow)
	seen := map[string]bool{}
	for i, u := range b.Users {
		user := field + "users[" + strconv.Itoa(i) + "]."
		switch {
		case u.Name == "":
			v.missing(user+"name", "say what the application calls itself")
		case seen[u.Name]:
			v.addMistake(user+"name", quoted(u.Name), "given before")
		case len(u.Name) > maxUser || len(u.Password) > maxUser:
			v.addMistake(user+"name", quoted(u.Name), fmt.Sprintf("a name and a password have at most %d bytes", maxUser))
		}
		seen[u.Name] = true
		v.requireList(user+"allow", u.Allow)
		v.destinations(user+"allow", u.Allow)
	}
	switch b.Route {
	case "", RouteHost, RoutePath:
	default:
		v.addMistake(field+"route", quoted(string(b.Route)), `use "host" or "path"`)
	}
	if b.KeepPath && b.Route != RoutePath {
		v.addMistake(field+"keep_path", "true", `only a path that names the destination can be kept: set route = "path" too`)
	}
	if !validHost(b.DNSDomain) && b.DNSDomain != "" {
		v.addMistake(field+"dns_domain", quoted(b.DNSDomain), "not a domain, such as consul")
	}
	v.hostNames(field+"host_names", b.HostNames)
	v.count(field+"max_connections", b.MaxConnections)
}

// maxUser is how long a user's name or password may be (RFC 1929).
const maxUser = 255

// requireList refuses a list of names that was forgotten, by which every client would be
// refused. One that is empty says that this is meant.
func (v *checks) requireList(field string, patterns []string) {
	if patterns == nil {
		v.missing(field, `list the services that clients may go to, such as ["db", "team-*"], or ["*"] for all`)
	}
}

func (v *checks) destinations(field string, patterns []string) {
	if _, err := NewDestinationList(patterns); err != nil {
		v.addMistake(field, "", err.Error())
	}
}
