package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
)

// DefaultAddress is where an agent serves its HTTP API unless told otherwise.
const DefaultAddress = "127.0.0.1:8500"

// ParseAddress puts the address of an agent's HTTP API into one form, or says
// what is wrong with it: host:port or host, below http:// or https:// and
// perhaps with a path there, or unix:// and a path. What Consul's own commands
// take means here what it means there; beyond that, a scheme may be in capitals
// and a path may end in a slash, which they would ask for twice.
//
// An address that was bound becomes one that can be dialled: Consul 1.2.1 hands
// its proxies 0.0.0.0 or [::] as the agent's.
func ParseAddress(text string) (string, error) {
	wrong := func(format string, args ...any) (string, error) {
		return text, fmt.Errorf(format, args...)
	}
	scheme, rest, found := strings.Cut(text, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case !found && strings.HasPrefix(text, "unix:"):
		scheme, rest = "unix", strings.TrimPrefix(text, "unix:")
	case !found:
		scheme, rest = "", text
	}
	host, path, _ := strings.Cut(rest, "/")
	path = strings.TrimRight(path, "/")
	switch {
	case scheme == "unix" && rest == "":
		return wrong("%s: a path is missing after it, as in unix:///run/consul.sock", text)
	case scheme == "unix":
		return "unix://" + rest, nil
	case scheme != "" && scheme != "http" && scheme != "https":
		return wrong("%s: write host:port, http://, https:// or unix://", text)
	case strings.Contains(host, "@"): // not repeated: it would be in every log
		return "an agent", errors.New("user and password do not belong into the address: give them in CONSUL_HTTP_AUTH")
	case strings.ContainsAny(rest, "?# "):
		return wrong("%q: it ends with the path", text)
	case host == "":
		return wrong("%q: the host is missing", text)
	case strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "["):
		return wrong("%s: an IPv6 address stands in brackets, as in [::1]:8500", text)
	}
	if path != "" {
		path = "/" + path
		scheme = cmp.Or(scheme, "http") // as host/path it would not be taken for one
	}
	if scheme != "" {
		scheme += "://"
	}
	return scheme + dialable(host) + path, nil
}

// dialable is the loopback address where host is every address.
func dialable(host string) string {
	for bound, loopback := range map[string]string{"0.0.0.0:": "127.0.0.1:", "[::]:": "[::1]:"} {
		if port, ok := strings.CutPrefix(host, bound); ok {
			return loopback + port
		}
	}
	if strings.HasPrefix(host, ":") {
		return "127.0.0.1" + host
	}
	return host
}

// hostOf is the name that the certificate of an agent at this address is for,
// unless another is given. A socket has none: there it is what Consul's own
// certificates have, localhost.
func hostOf(address string) string {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		rest = address
	}
	if scheme == "unix" {
		return "localhost"
	}
	host, _, _ := strings.Cut(rest, "/")
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}
