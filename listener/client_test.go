package listener_test

import (
	"context"
	"io"
	"net"

	"connect-proxy/listener/secure"
)

// secureClientUntilClosed connects as web and reads until it is cut off.
func secureClientUntilClosed(l *running, w world) {
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return
	}
	defer raw.Close()
	if c, err := (&secure.Config{TLS: w.ca.ClientTLS(w.web)}).Client(context.Background(), raw); err == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}
