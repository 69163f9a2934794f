package etcd

import (
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"connect-proxy/upstream"
)

const (
	// maxHost is how long a DNS name may be, which bounds a host of any kind.
	maxHost = 255
	// maxAddress is that of [host]:port.
	maxAddress = maxHost + len("[]:65535")
)

// listing is what etcd has below the prefix at a revision. One goroutine uses it.
type listing struct {
	// read is the revision that it was read at, revision the latest that it has
	// followed.
	read, revision int64
	// addresses are the keys without the prefix (Resolver.rest).
	addresses map[string]bool
	// partial says that there are more.
	partial bool
}

// set makes the set of a listing, and names the keys that are no instances.
func (l listing) set(o Options) (s upstream.Set, malformed []malformedKey) {
	for _, a := range slices.Sorted(maps.Keys(l.addresses)) {
		host, err := hostOf(a)
		if err != nil {
			malformed = append(malformed, malformedKey{a, err})
			continue
		}
		s.Endpoints = append(s.Endpoints, upstream.Endpoint{ID: a, Address: a, Identity: o.Identity(host)})
	}
	switch {
	case len(s.Endpoints) > 0:
	case len(malformed) > 0:
		s.Reason = "no key that etcd has below " + o.Prefix + " ends in host:port"
	default:
		s.Reason = "etcd has no key below " + o.Prefix
	}
	return s, malformed
}

// malformedKey is a key below the prefix that names no instance.
type malformedKey struct {
	rest string // after the prefix
	err  error
}

// hostOf is the host of host:port, or why that is none.
func hostOf(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil || len(host) > maxHost || len(address) > maxAddress:
		return "", errors.New("it does not end in host:port")
	case host == "":
		return "", errors.New("it names no host")
	case strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' || r > '~' }):
		return "", errors.New("its host has a character that no host has")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("its port is not a number from 1 to 65535")
	}
	return host, nil
}
