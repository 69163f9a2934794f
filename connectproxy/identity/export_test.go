package identity

import "connect-proxy/listener"

// What the tests from outside use of those inside.
var (
	Running = running
	Ready   = ready
	Serve   = serve
	Visit   = visit
)

// Session returns that of the next good handshake.
func (i *server) Session() listener.Session { return <-i.sessions }

// LimitVersion has the server of ServerTLS{} go no further than TLS version v.
func (i *Identity) LimitVersion(v uint16) {
	i.current.Load().server(ServerTLS{}).TLS.MaxVersion = v
}
