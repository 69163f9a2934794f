package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DefaultDNSDomain is Consul's own for DNS.
const DefaultDNSDomain = "consul"

// maxDestination is how long a name may be: DNS's bound, and SOCKS5's.
const maxDestination = 255

// ParseDestination returns the destination of a name as applications have it. Letters
// count as small ones, and a dot at the end is passed over.
//
//	db, db@dc2                       a service, here or in another datacenter
//	near.query, near.query@dc2       a prepared query
//	db.service.consul                as Consul's DNS has them: .service, .connect
//	db.virtual.dc2.dc.consul         and .virtual, .query, with .NAME.dc, .NAME.ns
//	db.connect.dc2.consul            and .NAME.ap, or a datacenter's bare name
//
// domain is that of Consul's DNS; empty means DefaultDNSDomain. A name with other
// dots is a service's whole name.
func ParseDestination(name, domain string) (Destination, error) {
	if domain == "" {
		domain = DefaultDNSDomain
	}
	text := strings.ToLower(strings.TrimSuffix(name, "."))
	if err := checkDestination(text); err != nil {
		return Destination{}, fmt.Errorf("%.80q: %w", name, err)
	}
	text = strings.Clone(text) // what name is a part of may be long, and must not be kept
	if inside, ok := strings.CutSuffix(text, "."+strings.ToLower(strings.Trim(domain, "."))); ok {
		d, err := parseDNSName(strings.Split(inside, "."))
		if err != nil {
			return Destination{}, fmt.Errorf("%.80q: %w", name, err)
		}
		return d, nil
	}
	d := Destination{Type: Service}
	base, datacenter, at := strings.Cut(text, "@")
	if at && (datacenter == "" || strings.Contains(datacenter, "@")) {
		return Destination{}, fmt.Errorf("%.80q: %w", name, errDatacenter)
	}
	d.Name, d.Datacenter = base, datacenter
	if query, ok := strings.CutSuffix(base, ".query"); ok {
		d.Type, d.Name = PreparedQuery, query
	}
	if d.Name == "" {
		return Destination{}, fmt.Errorf("%.80q: %w", name, errNoDestination)
	}
	return d, nil
}

var (
	errNoDestination    = errors.New("no name of a service")
	errLongDestination  = fmt.Errorf("longer than the %d bytes that a name may have", maxDestination)
	errDestinationBytes = errors.New("a name has letters, digits, dashes, underscores and dots, and @ before a datacenter")
	errDatacenter       = errors.New("one @ comes before the name of a datacenter, as in db@dc2")
	errNotDNS           = errors.New("not a name of Consul's DNS that leads into the mesh: use NAME.service, NAME.connect, NAME.virtual or NAME.query, without a tag")
)

func checkDestination(s string) error {
	switch {
	case s == "", strings.HasPrefix(s, "."), strings.Contains(s, ".."):
		return errNoDestination
	case len(s) > maxDestination:
		return errLongDestination
	case strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.@", r)
	}):
		return errDestinationBytes
	}
	return nil
}

// dnsKinds are the second labels of names in Consul's DNS (agent/dns.go).
var dnsKinds = map[string]DestinationType{
	"service": Service, "connect": Service, "virtual": Service, "query": PreparedQuery,
}

// parseDNSName reads the labels before the domain: NAME.KIND, then pairs of a name
// and its kind, then a datacenter that stands alone.
func parseDNSName(labels []string) (Destination, error) {
	if len(labels) < 2 || dnsKinds[labels[1]] == "" || slices.Contains(labels, "") || slices.ContainsFunc(labels, hasAt) {
		return Destination{}, errNotDNS
	}
	d := Destination{Type: dnsKinds[labels[1]], Name: labels[0]}
	rest := labels[2:]
	for ; len(rest) >= 2; rest = rest[2:] {
		var to *string
		switch rest[1] {
		case "dc":
			to = &d.Datacenter
		case "ns":
			to = &d.Namespace
		case "ap":
			to = &d.Partition
		}
		if to == nil || *to != "" {
			return Destination{}, errNotDNS
		}
		*to = rest[0]
	}
	switch {
	case len(rest) == 1 && d.Datacenter == "" && labels[1] != "virtual": // where it is a peer
		d.Datacenter = rest[0]
	case len(rest) == 1:
		return Destination{}, errNotDNS
	}
	if d.Namespace == "default" {
		d.Namespace = ""
	}
	if d.Partition == "default" {
		d.Partition = ""
	}
	return d, nil
}

func hasAt(label string) bool { return strings.Contains(label, "@") }

// Pattern is what in a DestinationList allows the destination and no other: db,
// near.query, db@dc2, and db.ns.team.ap.part where these are given.
func (d Destination) Pattern() string {
	datacenter := d.Datacenter
	d.Datacenter = ""
	s := d.String()
	if datacenter != "" {
		s += "@" + datacenter
	}
	return s
}
