package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"connect-proxy/connectproxy/mtls"
	"connect-proxy/listener/secure"
	"connect-proxy/upstream"
)

const (
	// explainSilence is how long an instance is listened to before our side is
	// closed. One that refuses does so in that time, and one that ends the
	// connection in it has not waited for what we had to say.
	explainSilence = time.Second
	// explainEnd bounds the whole end of a connection. A proxy has given its
	// application up by then: local_connect_timeout_ms is 5 s where nobody sets it.
	explainEnd = 6 * time.Second
)

// attempt is what became of the dial of one instance.
type attempt struct {
	finding
	reached bool
}

// dial opens one connection, in two steps so as to tell where it ends.
func (e *explanation) dial(ctx context.Context, ep upstream.Endpoint) attempt {
	bounded, cancel := context.WithTimeout(ctx, explainDial)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(bounded, "tcp", ep.Address)
	if err != nil {
		return failedAttempt("is its proxy up, and does a firewall let this machine through?", "%s at %s: no TCP connection: %v", ep.ID, ep.Address, err)
	}
	raw.Close()
	conn, err := e.identity.Dial(bounded, ep)
	if err != nil {
		return e.refused(ep, err)
	}
	return e.end(ctx, ep, conn)
}

// end sees whether the instance keeps a connection over which nothing is sent, and
// closes it in an orderly way, so that the called proxy does not take it for one that
// was cut. With TLS 1.3 a refusal comes after our handshake; a proxy of another kind
// refuses by closing the connection, which an application may do as well.
func (e *explanation) end(ctx context.Context, ep upstream.Endpoint, conn net.Conn) attempt {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	_ = conn.SetDeadline(time.Now().Add(explainSilence))
	n, err := conn.Read(make([]byte, 1))
	atOnce := n == 0 && !errors.Is(err, os.ErrDeadlineExceeded)
	if !atOnce {
		err = closeAfter(ctx, conn, explainEnd-explainSilence)
	}
	why, refused := secure.RefusalOf(err)
	cut := err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, secure.ErrTruncated) && !errors.Is(err, os.ErrDeadlineExceeded)
	proved := fmt.Sprintf("%s at %s proved to be %s", ep.ID, ep.Address, ep.Identity.Service)
	itsLog := "the log of its proxy says why, unless its application does so by itself: " + e.from + " is denied, or the application is down"
	switch {
	case ctx.Err() != nil:
		return failedAttempt("run explain again", "%s, and was not waited for: %v", proved, ctx.Err())
	case refused:
		return e.refused(ep, mtls.Refused(why, err))
	case atOnce && cut:
		return failedAttempt(itsLog, "%s, and cut the connection at once: %v", proved, err)
	case cut:
		return attempt{newFinding("instances", notice, itsLog, "%s, and cut the connection later: %v", proved, err), true}
	case atOnce:
		return attempt{newFinding("instances", notice, itsLog, "%s, and ended the connection at once", proved), true}
	}
	return attempt{newFinding("instances", good, "", "%s", proved), true}
}

// closeAfter closes our side of a connection and reads what the other one still has
// to say, for as long as wait. The error is what it ended with, nil where that was
// orderly.
func closeAfter(ctx context.Context, conn net.Conn, wait time.Duration) error {
	_ = conn.SetDeadline(time.Now().Add(wait))
	if ctx.Err() != nil {
		return ctx.Err() // the deadline that says so may be overwritten
	}
	if w, ok := conn.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	return nil
}

// refused says where the way to an instance ends that has not taken the connection,
// and who is to look at it.
func (e *explanation) refused(ep upstream.Endpoint, err error) attempt {
	at := fmt.Sprintf("%s at %s", ep.ID, ep.Address)
	there := fmt.Sprintf("on the machine of %s: connect-proxy check, and the log of its proxy", ep.Address)
	switch {
	case errors.Is(err, upstream.ErrIdentity):
		return failedAttempt("consul services deregister what is gone from there", "%s is something else than the catalog says: %v", at, err)
	case errors.Is(err, upstream.ErrClock):
		return failedAttempt("compare the clocks of both machines", "%s: %v", at, err)
	case errors.Is(err, upstream.ErrUnavailable):
		return failedAttempt(there+" (dial_failed is its application, authorization_unknown its agent)", "%s: %v", at, err)
	case errors.Is(err, upstream.ErrDenied):
		alert, _ := secure.AlertOf(err)
		switch {
		case secure.Refusal(alert) != secure.RefusedAccess:
			return failedAttempt(there+"; is its agent of the same cluster as the one here?", "%s does not take the certificate of %s: %v", at, e.from, err)
		case e.allowed[ep.Identity.Service]:
			return failedAttempt(there+"; its agent decides otherwise than the one here", "%s refuses %s: %v", at, e.from, err)
		}
		return failedAttempt(e.allow(ep.Identity.Service), "%s refuses %s: %v", at, e.from, err)
	case errors.Is(err, context.DeadlineExceeded):
		return failedAttempt(there, "%s does not answer the TLS handshake: %v", at, err)
	}
	return failedAttempt("is it a Connect proxy that listens there? openssl s_client -connect "+ep.Address, "%s: %v", at, err)
}

func failedAttempt(advice, format string, args ...any) attempt {
	return attempt{finding: newFinding("instances", notice, advice, format, args...)}
}
