package accesslog

import (
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unicode"

	"connect-proxy/listener"
)

// envoyRecord is what Envoy writes in Consul where no format is given
// (agent/xds/accesslogs). What belongs to HTTP is there, too, and empty.
const envoyRecord = `{
	"start_time": "%START_TIME%",
	"route_name": "%ROUTE_NAME%",
	"method": "%REQ(:METHOD)%",
	"path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
	"protocol": "%PROTOCOL%",
	"response_code": "%RESPONSE_CODE%",
	"response_flags": "%RESPONSE_FLAGS%",
	"response_code_details": "%RESPONSE_CODE_DETAILS%",
	"connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
	"bytes_received": "%BYTES_RECEIVED%",
	"bytes_sent": "%BYTES_SENT%",
	"duration": "%DURATION%",
	"upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
	"x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
	"user_agent": "%REQ(USER-AGENT)%",
	"request_id": "%REQ(X-REQUEST-ID)%",
	"authority": "%REQ(:AUTHORITY)%",
	"upstream_host": "%UPSTREAM_HOST%",
	"upstream_cluster": "%UPSTREAM_CLUSTER%",
	"upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
	"downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
	"downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
	"requested_server_name": "%REQUESTED_SERVER_NAME%",
	"upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%"
}`

// operators are Envoy's command operators (its documentation, access_log/usage)
// that mean something for a TCP connection, and three of our own. Downstream is
// the accepted side, upstream the dialled one.
var operators = map[string]func(*logEntry) string{
	"BYTES_RECEIVED":                 func(e *logEntry) string { return strconv.FormatInt(e.ToUpstream, 10) },
	"BYTES_SENT":                     func(e *logEntry) string { return strconv.FormatInt(e.ToClient, 10) },
	"CONNECTION_ID":                  func(e *logEntry) string { return strconv.FormatUint(e.ID, 10) },
	"CONNECTION_TERMINATION_DETAILS": terminationDetails,
	"DURATION":                       func(e *logEntry) string { return strconv.FormatInt(e.Duration.Milliseconds(), 10) },
	"FILTER_CHAIN_NAME":              func(e *logEntry) string { return e.Listener },
	"HOSTNAME":                       func(*logEntry) string { h, _ := os.Hostname(); return h },
	"REQUESTED_SERVER_NAME":          func(e *logEntry) string { return oneWord(e.ServerName) },
	"RESPONSE_FLAGS":                 responseFlags,

	"DOWNSTREAM_REMOTE_ADDRESS":                     func(e *logEntry) string { return addressOf(e.Client) },
	"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":        func(e *logEntry) string { return hostOf(addressOf(e.Client)) },
	"DOWNSTREAM_REMOTE_PORT":                        func(e *logEntry) string { return portOf(addressOf(e.Client)) },
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS":              func(e *logEntry) string { return addressOf(e.Client) },
	"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": func(e *logEntry) string { return hostOf(addressOf(e.Client)) },
	"DOWNSTREAM_DIRECT_REMOTE_PORT":                 func(e *logEntry) string { return portOf(addressOf(e.Client)) },
	"DOWNSTREAM_LOCAL_ADDRESS":                      func(e *logEntry) string { return addressOf(e.Local) },
	"DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT":         func(e *logEntry) string { return hostOf(addressOf(e.Local)) },
	"DOWNSTREAM_LOCAL_PORT":                         func(e *logEntry) string { return portOf(addressOf(e.Local)) },
	"DOWNSTREAM_PEER_URI_SAN":                       func(e *logEntry) string { return e.onSide(Inbound, e.Peer) },
	"DOWNSTREAM_PEER_SERIAL":                        func(e *logEntry) string { return e.onSide(Inbound, strings.ReplaceAll(e.Serial, ":", "")) },
	"DOWNSTREAM_TLS_VERSION":                        func(e *logEntry) string { return e.onSide(Inbound, tlsVersion(e.TLSVersion)) },
	"DOWNSTREAM_TLS_CIPHER":                         func(e *logEntry) string { return e.onSide(Inbound, cipherSuite(e.CipherSuite)) },

	"UPSTREAM_HOST":                        func(e *logEntry) string { return e.Instance.Address },
	"UPSTREAM_REMOTE_ADDRESS":              func(e *logEntry) string { return e.Instance.Address },
	"UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": func(e *logEntry) string { return hostOf(e.Instance.Address) },
	"UPSTREAM_REMOTE_PORT":                 func(e *logEntry) string { return portOf(e.Instance.Address) },
	"UPSTREAM_CLUSTER":                     upstreamCluster,
	"UPSTREAM_REQUEST_ATTEMPT_COUNT":       func(e *logEntry) string { return strconv.Itoa(e.Instance.Attempts) },
	"UPSTREAM_PEER_URI_SAN":                func(e *logEntry) string { return e.onSide(Outbound, e.Peer) },
	"UPSTREAM_TLS_VERSION":                 func(e *logEntry) string { return e.onSide(Outbound, tlsVersion(e.TLSVersion)) },
	"UPSTREAM_TLS_CIPHER":                  func(e *logEntry) string { return e.onSide(Outbound, cipherSuite(e.CipherSuite)) },
	"UPSTREAM_TRANSPORT_FAILURE_REASON":    transportFailure,

	"CONNECT_REASON":       func(e *logEntry) string { return e.Reason.String() },
	"CONNECT_PEER_SERVICE": func(e *logEntry) string { return oneWord(serviceOf(e.Peer)) },
	"CONNECT_INTENTION":    func(e *logEntry) string { return e.intention },
}

// oneWord is a name that a stranger chose, without what would make two of it
// where a format has spaces between its values.
func oneWord(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, s)
}

// newOperator returns the operator called name, and whether there is one.
func newOperator(name, argument string) (func(*logEntry) string, bool) {
	switch name {
	case "START_TIME":
		layout := newTimeLayout(argument)
		return func(e *logEntry) string { return layout.format(e.Start.UTC()) }, true
	case "ENVIRONMENT":
		if secret(argument) {
			return nil, false
		}
		v := os.Getenv(argument)
		return func(*logEntry) string { return v }, argument != ""
	}
	value, ok := operators[name]
	return value, ok
}

// secret reports whether a variable's name tells that its value is secret: whoever
// may write the format may not read everything that this process can.
func secret(variable string) bool {
	name := strings.ToUpper(variable)
	for _, word := range []string{"TOKEN", "SECRET", "PASSW", "AUTH", "KEY", "CREDENTIAL"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// onSide is a value of the side that faces the mesh, if that is the one asked for.
func (e *logEntry) onSide(d Direction, value string) string {
	if e.source.Direction != d {
		return ""
	}
	return value
}

// responseFlags are those of Envoy's that a TCP proxy sets.
func responseFlags(e *logEntry) string {
	switch e.Reason {
	case listener.ReasonNoEndpoints:
		return "UH"
	case listener.ReasonDialFailed, listener.ReasonUpstreamIdentity, listener.ReasonUpstreamDenied,
		listener.ReasonUpstreamUnavailable, listener.ReasonUpstreamClock:
		return "UF"
	case listener.ReasonDialTimeout:
		if e.Instance.Attempts > 1 {
			return "UF,URX"
		}
		return "UF"
	case listener.ReasonLimit:
		return "UO"
	case listener.ReasonMaxLifetime:
		return "DT"
	}
	return ""
}

// terminationDetails has what Envoy says of a connection that its RBAC filter
// ended.
func terminationDetails(e *logEntry) string {
	if e.Reason != listener.ReasonDenied && e.Reason != listener.ReasonIntentionRevoked {
		return ""
	}
	policy := e.intention
	if policy == "" {
		policy = "none"
	}
	return "rbac_access_denied_matched_policy[" + policy + "]"
}

func transportFailure(e *logEntry) string {
	if responseFlags(e) != "UF" && responseFlags(e) != "UF,URX" {
		return ""
	}
	return e.problem
}

// upstreamCluster is what Consul calls the cluster behind a listener.
func upstreamCluster(e *logEntry) string {
	if e.source.Direction == Inbound {
		return "local_app"
	}
	return e.source.Destination
}

func cipherSuite(id uint16) string {
	if id == 0 {
		return ""
	}
	return tls.CipherSuiteName(id)
}

// addressOf is an address as text; "" for none.
func addressOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	if tcp, ok := a.(*net.TCPAddr); ok {
		if p := tcp.AddrPort(); p.IsValid() { // in one allocation, where String makes three
			return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()).String()
		}
	}
	return a.String()
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address // of a unix socket
	}
	return host
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}
