package config

import (
	"cmp"
	"errors"
	"net"
	"regexp"
	"slices"
	"strings"
)

// DestinationType says how a destination's instances are found.
type DestinationType string

const (
	// Service is a service of the catalog. It is the default.
	Service DestinationType = "service"
	// PreparedQuery is run by the agent, which decides on the service.
	PreparedQuery DestinationType = "prepared_query"
	// Addresses are fixed ones.
	Addresses DestinationType = "addresses"
	// DNS is a host name and a port, or an SRV record.
	DNS DestinationType = "dns"
	// EtcdKeys are the keys below a prefix in etcd, for a program that is built with
	// it (upstream/etcd).
	EtcdKeys DestinationType = "etcd"
)

// Destination is what an upstream leads to. It is comparable.
type Destination struct {
	// Type says how instances are found; empty means Addresses where there are any,
	// and else Service.
	Type DestinationType
	// Name is a service's name, a prepared query's name or ID, or what is asked
	// for of the DNS: HOST:PORT, or _SERVICE._tcp.DOMAIN for an SRV record. In etcd
	// it is what the keys begin with, up to /HOST:PORT. It is for people alone where
	// there are Addresses.
	Name string
	// Namespace, Partition and Datacenter are Consul's; empty for the proxy's own.
	Namespace, Partition, Datacenter string
	// Addresses are those of the type, as HOST:PORT, one a line.
	Addresses string
	// Verify is whom an instance must prove to be where its identity is from
	// files: patterns of package allowlist, one a line, of which it matches one.
	// Empty means that its certificate must be for the host that is named.
	Verify string
	// Etcd is where the keys of that type are.
	Etcd Etcd `json:",omitzero"`
}

// String names the destination in logs: db, db.dc.dc2, near.query, 10.0.0.1:80.
func (d Destination) String() string {
	s := d.Name
	if d.Type == Addresses {
		s = cmp.Or(d.Name, strings.ReplaceAll(d.Addresses, "\n", ","))
	}
	if d.Type == PreparedQuery {
		s += ".query"
	}
	if d.Namespace != "" {
		s += ".ns." + d.Namespace
	}
	if d.Partition != "" {
		s += ".ap." + d.Partition
	}
	if d.Datacenter != "" {
		s += ".dc." + d.Datacenter
	}
	return s
}

// AddressList are its Addresses.
func (d Destination) AddressList() []string {
	if d.Addresses == "" {
		return nil
	}
	return strings.Split(d.Addresses, "\n")
}

var errEmptyPattern = errors.New("one of the patterns is empty: say whom the instances have to prove to be")

// destinationKeys stand in a file's upstream block only: what they lead to is for
// whoever writes the file to know.
var destinationKeys = keys[Upstream]{
	"destination_addresses": {set: func(u *Upstream, v value) error {
		list, err := v.texts()
		u.Destination.Addresses = joined(list)
		return err
	}},
	"identity": into(func(u *Upstream) *string { return &u.Identity }, value.text),
	"verify": {set: func(u *Upstream, v value) error {
		list, err := v.texts()
		if err == nil && slices.Contains(list, "") { // joined, it could be none
			err = errEmptyPattern
		}
		u.Destination.Verify = joined(list)
		return err
	}},
}

// ofType fills in the type where the addresses say it.
func (d Destination) ofType() DestinationType {
	if d.Type == "" && d.Addresses != "" {
		return Addresses
	}
	return cmp.Or(d.Type, Service)
}

// maxAddresses bounds those of one destination.
const maxAddresses = 1000

// builtIn reports whether the engine knows how to find instances of the type.
func (t DestinationType) builtIn() bool {
	return slices.Contains([]DestinationType{"", Service, PreparedQuery, Addresses, DNS, EtcdKeys}, t)
}

func (v *checks) destination(field string, d Destination) {
	if d.Addresses != "" && d.Type != Addresses {
		v.addMistake(field+"destination_addresses", "", `goes with destination_type "addresses" alone`)
	}
	if d.Etcd != (Etcd{}) && d.Type != EtcdKeys {
		v.addMistake(field+"etcd_endpoints", "", `goes with destination_type "etcd" alone`)
	}
	switch d.Type {
	case Service, PreparedQuery, "":
		if d.Name == "" {
			v.missing(field+"destination_name", "name a service or a prepared query")
		}
		return
	case Addresses:
		v.addressList(field+"destination_addresses", d.AddressList())
	case EtcdKeys:
		v.etcd(field, d)
	case DNS:
		v.dnsName(field+"destination_name", d)
	default:
		v.addMistake(field+"destination_type", quoted(string(d.Type)), `use "service", "prepared_query", "addresses", "dns" or "etcd"`)
		return
	}
	for _, consul := range []struct{ name, value string }{
		{"destination_namespace", d.Namespace}, {"destination_partition", d.Partition}, {"datacenter", d.Datacenter},
	} {
		if consul.value != "" {
			v.addMistake(field+consul.name, quoted(consul.value), "goes with a service or a prepared query of Consul's")
		}
	}
}

func (v *checks) addressList(field string, list []string) {
	if len(list) == 0 {
		v.missing(field, `list where to connect, such as ["10.0.3.144:6379"]`)
	}
	if len(list) > maxAddresses {
		v.addMistake(field, "", "more than 1000 addresses: let the DNS or Consul name them")
		return
	}
	for _, text := range list {
		if _, err := parseRemote(text); err != nil {
			v.addMistake(field, quoted(text), quoted(text)+": "+err.Error())
		}
	}
}

func (v *checks) dnsName(field string, d Destination) {
	switch {
	case d.Name == "":
		v.missing(field, "name a host and its port, such as redis.example.org:6379, or an SRV record, such as _redis._tcp.example.org")
	case strings.HasPrefix(d.Name, "_"):
		if !d.isSRV() {
			v.addMistake(field, quoted(d.Name), "not the name of an SRV record: write _SERVICE._tcp.DOMAIN, without a port")
		}
	default:
		a, err := parseRemote(d.Name)
		if err != nil {
			v.addMistake(field, quoted(d.Name), err.Error())
		} else if net.ParseIP(a.Host) != nil {
			v.addMistake(field, quoted(d.Name), "an address needs no DNS: give it as destination_addresses")
		}
	}
}

// parseRemote reads HOST:PORT.
func parseRemote(s string) (Address, error) {
	a, err := parseAddress(s)
	switch {
	case err == nil && a.Path != "":
		err = errAddress
	case err == nil && a.Host == "":
		err = errNoHost
	case err == nil && wildcard(a.Host):
		err = errEveryHost
	}
	return a, err
}

var srvName = regexp.MustCompile(`^_[A-Za-z0-9-]+\._tcp\.[A-Za-z0-9._-]+$`)

// isSRV reports whether an SRV record is asked for.
func (d Destination) isSRV() bool { return d.Type == DNS && srvName.MatchString(d.Name) }
