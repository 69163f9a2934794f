package secure

import (
	"crypto/tls"
	"errors"
	"net"
)

// Refusal is why a server ends a connection of which its application has seen
// nothing. Both are alerts that RFC 8446 has a server send while it negotiates,
// so whoever gets one before any application data knows that none of its own
// was delivered.
type Refusal uint8

const (
	// RefusedAccess is access_denied (RFC 8446 6.2): the peer's identity is
	// known and may not pass.
	RefusedAccess Refusal = 49
	// RefusedService is unrecognized_name (RFC 6066 3): the service that was
	// asked for is not available here, because its application is down or nobody
	// can say whether the peer may pass.
	RefusedService Refusal = 112
)

// Refuse ends a server's connection, which must not have been used, with an
// alert that says why. It may be called together with Abort. Where the records
// are crypto/tls's no alert can be sent, and the connection is reset as by Abort.
func (c *Conn) Refuse(why Refusal) error {
	r := c.records.Swap(nil)
	if r == nil {
		return c.Abort()
	}
	// The socket's buffer is empty but for a session ticket: this does not block.
	_, err := c.transport.Conn.Write(r.Alert(nil, tls.AlertError(why)))
	return errors.Join(err, c.transport.Close())
}

// certificateAlerts are those by which a server refuses a client's certificate
// (RFC 8446 6.2). A TLS 1.3 client hears of it after its own handshake.
var certificateAlerts = map[tls.AlertError]bool{
	40:                            true, // handshake_failure
	42:                            true, // bad_certificate
	43:                            true, // unsupported_certificate
	44:                            true, // certificate_revoked
	45:                            true, // certificate_expired
	46:                            true, // certificate_unknown
	48:                            true, // unknown_ca
	51:                            true, // decrypt_error
	71:                            true, // insufficient_security
	116:                           true, // certificate_required
	tls.AlertError(RefusedAccess): true,
}

// RefusalOf reports whether err, which ended a connection before any
// application data came, is a peer's refusal, and which: RefusedAccess also
// where the peer does not trust our certificate.
func RefusalOf(err error) (Refusal, bool) {
	alert, ok := AlertOf(err)
	switch {
	case !ok:
		return 0, false
	case certificateAlerts[alert]:
		return RefusedAccess, true
	case alert == tls.AlertError(RefusedService):
		return RefusedService, true
	}
	return 0, false
}

// AlertOf is the peer's alert that err stands for, and false where it is none.
// crypto/tls keeps the number to itself and shows the alert's name.
func AlertOf(err error) (tls.AlertError, bool) {
	var alert tls.AlertError
	if errors.As(err, &alert) {
		return alert, true
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		alert, ok := alertByName[op.Err.Error()]
		return alert, ok
	}
	return 0, false
}

var alertByName = func() map[string]tls.AlertError {
	names := make(map[string]tls.AlertError, 256)
	for i := range 256 {
		names[tls.AlertError(i).Error()] = tls.AlertError(i)
	}
	return names
}()
