package config

import (
	"crypto/tls"
	"fmt"
	"os"
	"strconv"
	"time"
)

// maxSocketPath is the most that Linux leaves for the path of a unix socket.
const maxSocketPath = 107

const localField = "public_listener.local_service_address"

// Validate names every mistake in a configuration that has its defaults. It is
// pure: whether a port is free or a name exists is not its question.
func (c Config) Validate() []Mistake {
	var v checks
	if c.Service == "" {
		v.missing("service_name", "name the service that this proxy represents")
	}
	v.notNegative("max_stale_authorization", c.MaxStaleAuthorization)
	v.notNegative("max_stale_endpoints", c.MaxStaleEndpoints)
	v.notNegative("drain_timeout", c.DrainTimeout)
	v.tls(c.TLS)
	if c.Public == nil && len(c.Upstreams) == 0 {
		v.missing("", "nothing to run: add a public_listener or an upstream")
	}
	if c.Public != nil {
		v.public(*c.Public, c.Mode)
	}
	for i, u := range c.Upstreams {
		v.upstream(upstreamField(i), u)
	}
	v.addresses(c)
	return v.mistakes
}

func upstreamField(i int) string { return "upstreams[" + strconv.Itoa(i) + "]" }

// checks collects mistakes.
type checks struct{ mistakes []Mistake }

func (v *checks) wrong(field, value, problem string) {
	v.mistakes = append(v.mistakes, Mistake{Field: field, Value: value, Problem: problem})
}

func (v *checks) missing(field, problem string) {
	if field != "" {
		problem = "missing: " + problem
	}
	v.wrong(field, "", problem)
}

func (v *checks) notNegative(field string, d time.Duration) {
	if d < 0 {
		v.wrong(field, d.String(), errNegative.Error())
	}
}

func (v *checks) count(field string, n int) {
	if n < 0 {
		v.wrong(field, strconv.Itoa(n), errNegativeCount.Error())
	}
}

func (v *checks) public(p Public, mode Mode) {
	const field = "public_listener."
	v.bind(field+"bind_", p.Bind)
	v.local(localField, p.Local, mode == Registered)
	v.notNegative(field+"local_connect_timeout_ms", p.LocalConnectTimeout)
	v.notNegative(field+"handshake_timeout_ms", p.HandshakeTimeout)
	v.count(field+"max_inbound_connections", p.MaxConnections)
	if p.MinTLS != 0 && p.MinTLS != tls.VersionTLS12 && p.MinTLS != tls.VersionTLS13 {
		v.wrong(field+"tls_min_version", tls.VersionName(p.MinTLS), "use TLSv1_2 or TLSv1_3")
	}
	for _, name := range p.ALPN {
		if name == "" || len(name) > 255 {
			v.wrong(field+"alpn", quoted(name), "not a protocol's name: it has 1 to 255 bytes")
		}
	}
	v.limits(field, p.Limits)
}

func (v *checks) upstream(field string, u Upstream) {
	field += "."
	if u.Destination.Name == "" {
		v.missing(field+"destination_name", "name a service or a prepared query")
	}
	if t := u.Destination.Type; t != Service && t != PreparedQuery && t != "" {
		v.wrong(field+"destination_type", quoted(string(t)), `use "service" or "prepared_query"`)
	}
	v.bind(field+"local_bind_", u.Bind)
	v.notNegative(field+"connect_timeout_ms", u.ConnectTimeout)
	switch u.Balance {
	case "", LeastConnections, RoundRobin, Random, Ordered:
	default:
		v.wrong(field+"balance", quoted(string(u.Balance)), `use "least_connections", "round_robin", "random" or "ordered"`)
	}
	v.count(field+"limits.max_connections", u.MaxConnections)
	v.count(field+"passive_health_check.max_failures", u.PassiveHealth.MaxFailures)
	v.notNegative(field+"passive_health_check.interval", u.PassiveHealth.Interval)
	switch u.MeshGateway {
	case "", "none", "local", "remote":
	default:
		v.wrong(field+"mesh_gateway.mode", quoted(u.MeshGateway), `use "none", "local" or "remote"`)
	}
	v.limits(field, u.Limits)
}

func (v *checks) limits(field string, l Limits) {
	v.notNegative(field+"idle_timeout", l.IdleTimeout)
	v.notNegative(field+"max_lifetime", l.MaxLifetime)
	v.notNegative(field+"half_close_timeout", l.HalfCloseTimeout)
}

// bind checks an address that is listened on; field is the beginning that its
// settings share.
func (v *checks) bind(field string, a Address) {
	if a.Path != "" {
		if a.Port != 0 {
			v.wrong(field+"socket_path", quoted(a.Path), "given together with "+field+"port: keep one of the two")
		}
		v.path(field+"socket_path", a.Path)
		if a.Mode&^os.ModePerm != 0 {
			v.wrong(field+"socket_mode", fmt.Sprintf("%#o", uint32(a.Mode)), "use permissions from 0001 to 0777")
		}
		return
	}
	if a.Mode != 0 {
		v.wrong(field+"socket_mode", fmt.Sprintf("%#o", uint32(a.Mode)), "only a socket has a mode: give "+field+"socket_path too")
	}
	switch {
	case a.Port == 0:
		v.missing(field+"port", "say where to listen, by port or by socket path")
	case a.Port < 0 || a.Port > 65535:
		v.wrong(field+"port", strconv.Itoa(a.Port), errPort.Error())
	}
	if a.Host != "" && !validHost(a.Host) {
		v.wrong(field+"address", quoted(a.Host), errHost.Error())
	}
}

// local checks the application's address. A registered service may have no
// port, since there are services that only dial.
func (v *checks) local(field string, a Address, mayLack bool) {
	switch {
	case a.Path != "" && a.Port != 0:
		v.wrong(field, quoted(a.Path), "a socket and a port at once: keep one of the two")
	case a.Path != "":
		v.path(field, a.Path)
	case a.Port == 0 && !mayLack:
		v.missing(field, "say where the application listens, such as 127.0.0.1:8080")
	case a.Port < 0 || a.Port > 65535:
		v.wrong(field, strconv.Itoa(a.Port), errPort.Error())
	case a.Host != "" && !validHost(a.Host):
		v.wrong(field, quoted(a.Host), errHost.Error())
	}
}

func (v *checks) path(field, path string) {
	if len(path) > maxSocketPath {
		v.wrong(field, quoted(path), fmt.Sprintf("longer than the %d bytes that a unix socket's path may have", maxSocketPath))
	}
}

// addresses finds listeners that cannot be open at once, which would otherwise
// show as "address already in use" at run time, on whichever came second.
func (v *checks) addresses(c Config) {
	var all []taken
	if c.Public != nil {
		local, bind := c.Public.Local, c.Public.Bind
		if local.Overlaps(bind) && (loopback(local.Host) || !wildcard(bind.Host)) {
			v.wrong(localField, local.String(), "the address of the public listener itself: say where the application listens")
		}
		if local.Path != "" || loopback(local.Host) {
			all = append(all, taken{local, localField})
		}
		all = append(all, taken{bind, "public_listener.bind_" + suffix(bind)})
	}
	for i, u := range c.Upstreams {
		field := upstreamField(i) + ".local_bind_" + suffix(u.Bind)
		if by := takenBy(all, u.Bind); by != "" {
			v.wrong(field, u.Bind.String(), u.Bind.String()+" is already taken by "+by)
		}
		all = append(all, taken{u.Bind, field})
	}
}

// taken is an address and the setting that takes it.
type taken struct {
	Address
	by string
}

func takenBy(all []taken, a Address) string {
	for _, t := range all {
		if a.Overlaps(t.Address) {
			return t.by
		}
	}
	return ""
}

// suffix ends the name of the setting that makes an address what it is.
func suffix(a Address) string {
	if a.Path != "" {
		return "socket_path"
	}
	return "port"
}
