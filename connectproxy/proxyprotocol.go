package connectproxy

import (
	"net"
	"strings"

	"github.com/pires/go-proxyproto"

	"connect-proxy/listener"
)

// tlvSPIFFE is the type of the field that holds the client's SPIFFE ID: the
// first of those that the PROXY protocol leaves to applications (2.2.8,
// PP2_TYPE_MIN_CUSTOM).
const tlvSPIFFE = proxyproto.PP2_TYPE_MIN_CUSTOM

// proxyHeader is the PROXY protocol's header, version 2, of a connection from the
// mesh. One that came by a unix socket has no addresses that the protocol could
// carry, and is LOCAL.
func proxyHeader(o listener.Open) ([]byte, error) {
	h := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	if _, ok := o.Client.(*net.TCPAddr); ok {
		h = proxyproto.HeaderProxyFromAddrs(2, o.Client, o.Local)
	}
	fields := []proxyproto.TLV{{Type: tlvSPIFFE, Value: []byte(o.Peer)}}
	if isHostName(o.ServerName) {
		fields = append(fields, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(o.ServerName)})
	}
	if err := h.SetTLVs(fields); err != nil {
		return nil, err
	}
	return h.Format()
}

// isHostName reports whether an application can be shown name, which the client
// chose, as a host's: applications log it.
func isHostName(name string) bool {
	const longest, letters = 255, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
	return name != "" && len(name) <= longest && strings.Trim(name, letters) == ""
}
