package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ParseUpstream reads an upstream as the command line has it: a destination, a
// colon, and where to listen for it.
//
//	db:8181                   the service db on 127.0.0.1:8181
//	db:127.0.0.10:8181        on another address; IPv6 in brackets
//	db:unix:/run/db.sock      on a unix socket
//	nearest-db.query:8181     a prepared query
//
// The result has no defaults yet. An error starts with the offending text.
func ParseUpstream(flag string) (Upstream, error) {
	name, bind, found := strings.Cut(flag, ":")
	if !found {
		return Upstream{}, fmt.Errorf("%s: no port: write NAME:PORT, such as db:8181", quoted(flag))
	}
	u := Upstream{Destination: Destination{Name: name, Type: Service}}
	if base, kind, typed := cutLast(name, "."); typed {
		switch kind {
		case "query":
			u.Destination = Destination{Name: base, Type: PreparedQuery}
		case "service", "":
			u.Destination.Name = base
		default:
			return Upstream{}, fmt.Errorf("%s: unknown kind of destination %s: write NAME or NAME.query", quoted(flag), quoted("."+kind))
		}
	}
	if u.Destination.Name == "" {
		return Upstream{}, fmt.Errorf("%s: no name before the colon: write NAME:PORT, such as db:8181", quoted(flag))
	}
	if !strings.Contains(bind, ":") {
		bind = ":" + bind
	}
	var err error
	if u.Bind, err = parseAddress(bind); err != nil {
		return Upstream{}, fmt.Errorf("%s: %w", quoted(flag), err)
	}
	return u, nil
}

// ParseAddress reads 127.0.0.1:80, [::1]:80, :80 for every address, or
// unix:/path. An error starts with the offending text.
func ParseAddress(s string) (Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return Address{}, fmt.Errorf("%s: %w", quoted(s), err)
	}
	return a, nil
}

var (
	errAddress   = errors.New("not an address: write HOST:PORT, [IPV6]:PORT or unix:/PATH")
	errNoPort    = errors.New("no port: write HOST:PORT, such as 127.0.0.1:8080")
	errEveryHost = errors.New("stands for every address, and nobody can be reached there: name one")
	errPort      = errors.New("not a port: use 1 to 65535")
	errNoHost    = errors.New("no host: write HOST:PORT, such as 10.0.3.144:6379")
	errHost      = errors.New("not a host: use an IP address or a host name")
)

// parseAddress leaves the offending text to its callers, who know more of it.
func parseAddress(s string) (Address, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		// unix:///path is how a URL has it.
		path = "/" + strings.TrimLeft(path, "/")
		if rest := strings.TrimPrefix(s, "unix:"); !strings.HasPrefix(rest, "/") {
			path = rest
		}
		if path == "" || path == "/" {
			return Address{}, errAddress
		}
		return Address{Path: path}, nil
	}
	host, port, err := net.SplitHostPort(s)
	switch {
	case err != nil && !strings.Contains(s, ":") && validHost(s):
		return Address{}, errNoPort
	case err != nil:
		return Address{}, errAddress
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Address{}, errPort
	}
	if host != "" && !validHost(host) {
		return Address{}, errHost
	}
	return Address{Host: host, Port: int(n)}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func quoted(s string) string { return excerpt(strconv.Quote(s)) }
