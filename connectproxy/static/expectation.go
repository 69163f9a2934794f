package static

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"connect-proxy/connectproxy/allowlist"
)

// expectation is whom an instance has to be.
type expectation struct {
	host string
	list *allowlist.List // nil where host says it
	err  error           // of what was given
}

var errNobodyExpected = errors.New("it is not configured which identity the instance has to prove")

// expectationOf is of a host name or an IP address, or, where there are patterns,
// one a line, of these.
func expectationOf(host, patterns string) expectation {
	e := expectation{host: strings.TrimSuffix(host, ".")}
	switch {
	case patterns != "":
		e.list, e.err = allowlist.Parse(strings.Split(patterns, "\n"))
	case e.host == "":
		e.err = errNobodyExpected
	}
	return e
}

// serverName is what is asked for: a host name, and no address (RFC 6066 3).
func (e expectation) serverName() string {
	if e.host != "" && net.ParseIP(e.host) == nil {
		return e.host
	}
	return e.list.ServerName()
}

// check compares a certificate whose chain has been verified.
func (e expectation) check(c *x509.Certificate) error {
	switch {
	case e.err != nil:
		return e.err
	case e.list == nil && c.VerifyHostname(e.host) == nil:
		return nil
	}
	names, err := allowlist.TextOf(c)
	switch {
	case err != nil:
		return err
	case e.list == nil:
		return fmt.Errorf("the instance is %s, and its certificate is not for %s: set verify to the identity that it should have", names, e.host)
	}
	if _, ok := e.list.AllowsText(names); !ok {
		return fmt.Errorf("the instance is %s, which is not one of the identities that verify allows", names)
	}
	return nil
}
