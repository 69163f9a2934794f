package accesslog

import (
	"cmp"
	"crypto/tls"
	"net/url"
	"strings"
	"time"

	"connect-proxy/listener"
)

// maxValue bounds a text in a record, in bytes. A record so stays below what a
// pipe takes at once.
const maxValue = 512

// logEntry is a connection to be written down.
type logEntry struct {
	*listener.Summary
	source *ListenerInfo
	// intention is what ListenerInfo.Intention said when the connection ended.
	intention string
	// problem is what Err says, and destination what Destination does, which are nil.
	problem, destination string
}

// callee and caller are the services of a connection by their names.
func (e *logEntry) caller() string {
	if e.source.Direction == Inbound {
		return serviceOf(e.Peer)
	}
	return e.source.Service
}

func (e *logEntry) callee() string {
	if e.source.Direction == Inbound {
		return e.source.Service
	}
	return cmp.Or(e.source.Destination, e.destination)
}

// serviceOf is the service of a SPIFFE ID as Consul makes them, with its
// namespace in front where that is not the default one; "" if it is none.
func serviceOf(id string) string {
	_, path, ok := strings.Cut(strings.TrimPrefix(id, "spiffe://"), "/")
	if !ok {
		return ""
	}
	namespace, service := "", ""
	for {
		kind, rest, ok := strings.Cut(path, "/")
		if !ok {
			break
		}
		var value string
		value, path, _ = strings.Cut(rest, "/")
		if name, err := url.PathUnescape(value); err == nil {
			value = name
		}
		switch kind {
		case "ns":
			namespace = value
		case "svc":
			service = value
		}
	}
	if namespace != "" && namespace != "default" && service != "" {
		return namespace + "/" + service
	}
	return service
}

// tlsVersion is a version as Envoy writes it; "" for none.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return ""
}

// milliseconds has three digits after the point.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// bounded cuts a text that is too long.
func bounded(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return strings.ToValidUTF8(s[:maxValue], "") + "..."
}
