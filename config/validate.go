package config

import (
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxSocketPath is the most that Linux leaves for the path of a unix socket.
const maxSocketPath = 107

const localField = "public_listener.local_service_address"

// Validate names every mistake in a configuration that has its defaults. It is
// pure: whether a port is free or a name exists is not its question.
func (c Config) Validate() []Mistake {
	var v checks
	if c.Service == "" && (c.needsService() || c.Public == nil && len(c.Upstreams) == 0) {
		v.missing("service_name", "name the service that this proxy represents")
	}
	v.notNegative("max_stale_authorization", c.MaxStaleAuthorization)
	v.notNegative("max_stale_endpoints", c.MaxStaleEndpoints)
	v.notNegative("drain_timeout", c.DrainTimeout)
	v.tls(c.TLS)
	v.accessLog(c.AccessLog)
	v.identities(c)
	if c.Public == nil && len(c.Upstreams) == 0 && !c.NamesAtRunTime() {
		v.missing("", "nothing to run: add a public_listener, an upstream, by_name, micro or edge")
	}
	if c.Public != nil {
		v.public(*c.Public, c.Mode)
		v.publicIdentity(*c.Public, c)
	}
	for i, u := range c.Upstreams {
		v.upstream(upstreamField(i), u, c.Mode)
		v.upstreamIdentity(upstreamField(i)+".", u, c)
	}
	if c.ByName != nil {
		v.byName(*c.ByName)
	}
	if c.Micro != nil {
		v.micro(*c.Micro)
		if c.Micro.ReceiveEvents && c.Public == nil {
			v.addMistake("micro.receive_events", "true", "events come to the public listener: add public_listener")
		}
		v.microServer(c)
	}
	if c.Edge != nil {
		v.edge(*c.Edge)
	}
	if c.DynamicUpstreams != nil {
		v.dialling("dynamic_upstreams.", *c.DynamicUpstreams)
	}
	v.addresses(c)
	return v.mistakes
}

func upstreamField(i int) string { return "upstreams[" + strconv.Itoa(i) + "]" }

// checks collects mistakes.
type checks struct{ mistakes []Mistake }

func (v *checks) addMistake(field, value, problem string) {
	v.mistakes = append(v.mistakes, Mistake{Field: field, Value: value, Problem: problem})
}

func (v *checks) missing(field, problem string) {
	if field != "" {
		problem = "missing: " + problem
	}
	v.addMistake(field, "", problem)
}

func (v *checks) notNegative(field string, d time.Duration) {
	if d < 0 {
		v.addMistake(field, d.String(), errNegative.Error())
	}
}

func (v *checks) count(field string, n int) {
	if n < 0 {
		v.addMistake(field, strconv.Itoa(n), errNegativeCount.Error())
	}
}

func (v *checks) public(p Public, mode Mode) {
	const field = "public_listener."
	v.bind(field+"bind_", p.Bind)
	v.local(localField, p.Local, mode == Registered || mode == Embedded || p.MicroEvents)
	v.notNegative(field+"local_connect_timeout_ms", p.LocalConnectTimeout)
	if p.LocalProxyProtocol != "" && p.LocalProxyProtocol != ProxyProtocolV2 {
		v.addMistake(field+"local_proxy_protocol", quoted(string(p.LocalProxyProtocol)), "use v2, or leave it out")
	}
	v.notNegative(field+"handshake_timeout_ms", p.HandshakeTimeout)
	v.count(field+"max_inbound_connections", p.MaxConnections)
	if p.MinTLS != 0 && p.MinTLS != tls.VersionTLS12 && p.MinTLS != tls.VersionTLS13 {
		v.addMistake(field+"tls_min_version", tls.VersionName(p.MinTLS), "use TLSv1_2 or TLSv1_3")
	}
	for _, name := range p.ALPN {
		if name == "" || len(name) > 255 {
			v.addMistake(field+"alpn", quoted(name), "not a protocol's name: it has 1 to 255 bytes")
		}
	}
	v.limits(field, p.Limits)
}

func (v *checks) upstream(field string, u Upstream, mode Mode) {
	field += "."
	if mode != Embedded || u.Destination.Type.builtIn() { // a program may have types of its own
		v.destination(field, u.Destination)
	}
	if mode != Embedded || !u.Bind.Unset() {
		v.bind(field+"local_bind_", u.Bind)
	}
	v.dialling(field, u)
}

// dialling checks what is said of the connections of an upstream.
func (v *checks) dialling(field string, u Upstream) {
	v.notNegative(field+"connect_timeout_ms", u.ConnectTimeout)
	if u.Balance != "" && !slices.Contains(balances, u.Balance) {
		v.addMistake(field+"balance", quoted(string(u.Balance)), "use "+oneOf(balances))
	}
	switch u.ResetOnChange {
	case ResetNone, ResetGone, ResetAll:
	default:
		v.addMistake(field+"reset_on_change", quoted(string(u.ResetOnChange)), `use "gone" or "all", or leave it out`)
	}
	v.count(field+"limits.max_connections", u.MaxConnections)
	v.passiveHealth(field+"passive_health_check.", u.PassiveHealth)
	switch u.MeshGateway {
	case "", "none", "local", "remote":
	default:
		v.addMistake(field+"mesh_gateway.mode", quoted(u.MeshGateway), `use "none", "local" or "remote"`)
	}
	v.limits(field, u.Limits)
}

func (v *checks) limits(field string, l Limits) {
	v.notNegative(field+"idle_timeout", l.IdleTimeout)
	v.notNegative(field+"max_lifetime", l.MaxLifetime)
	v.notNegative(field+"half_close_timeout", l.HalfCloseTimeout)
}

// clients checks an address whose clients act as this service, and which other
// machines must not reach unless remote is set. may is what a client can do then.
func (v *checks) clients(field string, a Address, remote bool, may string) {
	v.bind(field+"bind_", a)
	if a.Path == "" && a.Host != "" && !loopback(a.Host) && !remote {
		v.addMistake(field+"bind_address", quoted(a.Host),
			"not on loopback: whoever reaches it "+may+"; if that is wanted, set remote_clients = true")
	}
}

// bind checks an address that is listened on; field is the beginning that its
// settings share.
func (v *checks) bind(field string, a Address) {
	if a.Path != "" {
		if a.Port != 0 {
			v.addMistake(field+"socket_path", quoted(a.Path), "given together with "+field+"port: keep one of the two")
		}
		v.path(field+"socket_path", a.Path)
		if a.Mode&^os.ModePerm != 0 {
			v.addMistake(field+"socket_mode", fmt.Sprintf("%#o", uint32(a.Mode)), "use permissions from 0001 to 0777")
		}
		return
	}
	if a.Mode != 0 {
		v.addMistake(field+"socket_mode", fmt.Sprintf("%#o", uint32(a.Mode)), "only a socket has a mode: give "+field+"socket_path too")
	}
	switch {
	case a.Port == 0:
		v.missing(field+"port", "say where to listen, by port or by socket path")
	case a.Port < 0 || a.Port > 65535:
		v.addMistake(field+"port", strconv.Itoa(a.Port), errPort.Error())
	}
	if a.Host != "" && !validHost(a.Host) {
		v.addMistake(field+"address", quoted(a.Host), errHost.Error())
	}
}

// local checks the application's address. A registered service may have no
// port, since there are services that only dial.
func (v *checks) local(field string, a Address, mayLack bool) {
	switch {
	case a.Path != "" && a.Port != 0:
		v.addMistake(field, quoted(a.Path), "a socket and a port at once: keep one of the two")
	case a.Path != "":
		v.path(field, a.Path)
	case a.Port == 0 && !mayLack:
		v.missing(field, "say where the application listens, such as 127.0.0.1:8080")
	case a.Port < 0 || a.Port > 65535:
		v.addMistake(field, strconv.Itoa(a.Port), errPort.Error())
	case a.Host != "" && !validHost(a.Host):
		v.addMistake(field, quoted(a.Host), errHost.Error())
	}
}

func (v *checks) path(field, path string) {
	if len(path) > maxSocketPath {
		v.addMistake(field, quoted(path), fmt.Sprintf("longer than the %d bytes that a unix socket's path may have", maxSocketPath))
	}
}

// addresses finds listeners that cannot be open at once, which would otherwise
// show as "address already in use" at run time, on whichever came second.
func (v *checks) addresses(c Config) {
	var all []taken
	if c.Public != nil {
		local, bind := c.Public.Local, c.Public.Bind
		if local.Overlaps(bind) && (loopback(local.Host) || !wildcard(bind.Host)) {
			v.addMistake(localField, local.String(), "the address of the public listener itself: say where the application listens")
		}
		if local.Path != "" || loopback(local.Host) {
			all = append(all, taken{local, localField})
		}
		all = append(all, taken{bind, "public_listener.bind_" + suffix(bind)})
	}
	for i, u := range c.Upstreams {
		if u.Bind.Unset() && slices.ContainsFunc(c.Upstreams[:i], u.sameDial) {
			v.addMistake(upstreamField(i), u.Destination.String(), "there is one without an address already: it would be dialled by the same name")
		}
		field := upstreamField(i) + ".local_bind_" + suffix(u.Bind)
		if by := takenBy(all, u.Bind); by != "" {
			v.addMistake(field, u.Bind.String(), "already taken by "+by)
		}
		all = append(all, taken{u.Bind, field})
	}
	if b := c.ByName; b != nil {
		field := "by_name.bind_" + suffix(b.Bind)
		if by := takenBy(all, b.Bind); by != "" {
			v.addMistake(field, b.Bind.String(), "already taken by "+by)
		}
		all = append(all, taken{b.Bind, field})
	}
	if m := c.Micro; m.Listens() {
		field := "micro.bind_" + suffix(m.Bind)
		if by := takenBy(all, m.Bind); by != "" {
			v.addMistake(field, m.Bind.String(), "already taken by "+by)
		}
		all = append(all, taken{m.Bind, field})
	}
	if e := c.Edge; e != nil {
		if by := takenBy(all, e.withDefaults().Bind); by != "" {
			v.addMistake("edge.bind_port", e.withDefaults().Bind.String(), "already taken by "+by)
		}
	}
}

// sameDial reports whether two upstreams are dialled by a program alone, and by
// the same name.
func (u Upstream) sameDial(o Upstream) bool {
	return o.Bind.Unset() && u.Destination.String() == o.Destination.String()
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

// oneOf lists values for a message: "a", "b" or "c".
func oneOf[T ~string](values []T) string {
	var b strings.Builder
	for i, v := range values {
		switch {
		case i > 0 && i == len(values)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(quoted(string(v)))
	}
	return b.String()
}
