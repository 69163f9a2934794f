package mtls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"connect-proxy/listener"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

// maxServerName bounds what is kept of a server name, which a client may make 64 kB
// long: a byte more than a host name can have, so that it does not become one.
const maxServerName = 256

// SessionInfo describes the TLS session of a finished handshake. peer is whom the
// other side has proven to be, serial its certificate's serial number as Consul
// writes it.
func SessionInfo(cs tls.ConnectionState, peer, serial string) listener.SessionInfo {
	name := cs.ServerName
	if len(name) > maxServerName {
		name = strings.Clone(name[:maxServerName])
	}
	return listener.SessionInfo{
		Peer:        peer,
		Serial:      serial,
		TLSVersion:  cs.Version,
		CipherSuite: cs.CipherSuite,
		ServerName:  name,
		Resumed:     cs.DidResume,
	}
}

// certificateExpired is the alert of RFC 8446 6.2, also for a certificate whose
// time has not come.
const certificateExpired tls.AlertError = 45

// dialError marks err, which ended a handshake with an instance, as
// Client.Handshake has it.
func dialError(err error) error {
	if errors.Is(err, upstream.ErrIdentity) || errors.Is(err, upstream.ErrClock) {
		return err
	}
	if alert, ok := secure.AlertOf(err); ok {
		return refusedWith(alert, err)
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// Refused marks err, by which an instance refused a connection after our side of
// the handshake was done, as Client.Handshake has it; why is secure.RefusalOf's.
// An instance whose proxy works and that cannot serve is upstream.ErrUnavailable.
func Refused(why secure.Refusal, err error) error {
	if why != secure.RefusedAccess {
		// The alert's own name leads elsewhere.
		return fmt.Errorf("%w: its application is down or full, or its agent cannot say who may call, as its proxy's log says (%w)", upstream.ErrUnavailable, err)
	}
	alert, _ := secure.AlertOf(err)
	return refusedWith(alert, err)
}

// refusedWith marks an error that is an instance's alert.
func refusedWith(alert tls.AlertError, err error) error {
	if alert == certificateExpired {
		return fmt.Errorf("%w: the instance takes our certificate for expired or not valid yet: %w", upstream.ErrClock, err)
	}
	return fmt.Errorf("%w: %w", upstream.ErrDenied, err)
}
