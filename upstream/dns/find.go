package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"connect-proxy/upstream"
)

// maxInstances bounds those of one answer.
const maxInstances = 1000

// find asks for the instances of this moment, of which there is one at least.
func (r *Resolver) find(ctx context.Context) (upstream.Set, error) {
	find := r.hosts
	if strings.HasPrefix(r.o.Name, "_") {
		find = r.records
	}
	s, err := find(ctx)
	if len(s.Endpoints) > maxInstances {
		s.Endpoints = s.Endpoints[:maxInstances]
	}
	return s, err
}

// hosts asks for the addresses of a host name, each of which is an instance.
func (r *Resolver) hosts(ctx context.Context) (upstream.Set, error) {
	host, port, err := net.SplitHostPort(r.o.Name)
	if err != nil {
		return upstream.Set{}, fmt.Errorf("the name %q: %w", r.o.Name, err)
	}
	found, err := r.o.Lookup.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return upstream.Set{}, plain(err)
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	var s upstream.Set
	for _, a := range slices.Compact(found) {
		address := net.JoinHostPort(a.String(), port)
		s.Endpoints = append(s.Endpoints, upstream.Endpoint{ID: address, Address: address, Identity: r.o.Identity(host)})
	}
	if len(s.Endpoints) == 0 {
		return s, fmt.Errorf("%s has no address", host)
	}
	return s, nil
}

var errNoTarget = errors.New("the record names no host: the service is not available there")

// records asks for an SRV record (RFC 2782). Its targets are instances, by their
// weights where all have one priority, and in the order of the priorities
// otherwise.
func (r *Resolver) records(ctx context.Context) (upstream.Set, error) {
	_, found, err := r.o.Lookup.LookupSRV(ctx, "", "", r.o.Name)
	switch {
	case err != nil && len(found) == 0:
		return upstream.Set{}, plain(err)
	case err != nil: // net.Resolver leaves out what is malformed, and says so
		r.o.Logger.Debug("some targets of the record are left out", "name", r.o.Name, "error", plain(err))
	}
	found = slices.DeleteFunc(found, func(t *net.SRV) bool { return t.Target == "." || t.Target == "" })
	if len(found) == 0 {
		return upstream.Set{}, errNoTarget
	}
	// Whoever answers shuffles them, which must not look like a change.
	slices.SortFunc(found, func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	s := upstream.Set{Ordered: found[0].Priority != found[len(found)-1].Priority}
	for _, t := range found {
		host := strings.TrimSuffix(t.Target, ".")
		address := net.JoinHostPort(host, strconv.Itoa(int(t.Port)))
		s.Endpoints = append(s.Endpoints, upstream.Endpoint{ID: address, Address: address, Weight: int(t.Weight), Identity: r.o.Identity(host)})
	}
	return s, nil
}

// plain says what the resolver says without the server's name and port, which
// changes from answer to answer.
func plain(err error) error {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return err
	}
	if dns.IsNotFound {
		return fmt.Errorf("the DNS has no %s", dns.Name)
	}
	return fmt.Errorf("looking up %s: %s", dns.Name, dns.Err)
}
