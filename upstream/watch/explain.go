package watch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/consul/api"
)

// Explain adds to a failed question what to do about it, and says of a status
// that the agent answered with it. The result wraps err; its text is one line.
// An error that has been explained comes back as it is.
func Explain(err error) error {
	var done *explained
	if err == nil || errors.As(err, &done) {
		return err
	}
	text := err.Error()
	var status api.StatusError
	if errors.As(err, &status) {
		text = strings.Replace(text, status.Error(), answered(status), 1)
	}
	if hint := Hint(err); hint != "" {
		text += ": " + hint
	}
	return Explained(strings.Join(strings.Fields(text), " "), err)
}

// Explained is err under a text that says what happened and what to do, to
// which Explain adds nothing.
func Explained(text string, err error) error { return &explained{text: text, err: err} }

// explained is an error with a text for people.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// Needs adds to a failed question the permission on name that the token lacks,
// where the agent said no more than that it lacks one. Any other error comes
// back as it is.
func Needs(err error, permission, name string) error {
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusForbidden {
		return fmt.Errorf("the token needs %s on %q: %w", permission, name, err)
	}
	return err
}

// maxBody is how much of an answer is shown.
const maxBody = 200

func answered(s api.StatusError) string {
	body := strings.ToValidUTF8(strings.Join(strings.Fields(s.Body), " "), "")
	if body == "" {
		body = http.StatusText(s.Code)
	}
	if runes := []rune(body); len(runes) > maxBody {
		body = string(runes[:maxBody]) + "…"
	}
	return fmt.Sprintf("the agent answered %d (%s)", s.Code, body)
}

// Hint says in one phrase what to do about a failed question, or is empty where
// the error says it all.
func Hint(err error) string {
	var status api.StatusError
	if errors.As(err, &status) {
		return statusHint(status)
	}
	var (
		invalid  x509.CertificateInvalidError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		record   tls.RecordHeaderError
		op       *net.OpError
		text     = err.Error()
	)
	var knows interface{ Advice() string } // an error that knows better
	switch {
	case errors.As(err, &knows):
		return knows.Advice()
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the agent's certificate and the clock of this machine do not agree: set the clock, or renew the certificate"
	case errors.As(err, &unknown):
		return "name the CA of the agent's certificate with -ca-file or CONSUL_CACERT"
	case errors.As(err, &hostname):
		return "name what stands in the agent's certificate with -tls-server-name or CONSUL_TLS_SERVER_NAME"
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the agent speaks plain HTTP there: write http:// in -http-addr, or name its HTTPS port"
	case errors.As(err, &record):
		return "the agent speaks no TLS there: check the port and the scheme of -http-addr, and CONSUL_HTTP_SSL"
	case strings.Contains(text, "malformed HTTP"):
		return "what listens there is no HTTP API: check -http-addr"
	case errors.As(err, &op) && op.Op == "remote error": // a TLS alert
		return "the agent refuses the TLS handshake: check -client-cert and -client-key (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY)"
	case Unreachable(err):
		return "check that the agent runs and that -http-addr names it"
	}
	return ""
}

func statusHint(s api.StatusError) string {
	body := strings.ToLower(s.Body)
	switch {
	case strings.Contains(body, "http request to an https server"):
		return "the agent speaks HTTPS there: write https:// in -http-addr"
	case strings.Contains(body, "acl not found"):
		return "Consul does not know the token: give one that exists with -token, -token-file or CONSUL_HTTP_TOKEN"
	case strings.Contains(body, "connect must be enabled"), strings.Contains(body, "connect is not enabled"):
		return "set connect { enabled = true } on Consul's servers"
	case strings.Contains(body, "no cluster leader"):
		return "Consul's servers have no leader: see their logs"
	case s.Code == http.StatusNotFound && strings.Contains(body, "query not found"):
		return "there is no prepared query of that name or ID: create it, or correct the destination's name"
	}
	switch s.Code {
	case http.StatusBadRequest:
		return "it does not take the question: check the names in it, and -namespace and -partition, which only Consul Enterprise knows"
	case http.StatusNotFound:
		return "check that -http-addr names a Consul agent, and that its version has this endpoint"
	case http.StatusTooManyRequests:
		return "raise its limits (http_max_conns_per_client, rpc_rate) if this lasts"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "something between the proxy and the agent may have answered: check -http-addr and HTTP_PROXY"
	}
	return ""
}

// Unreachable reports that nobody answered, as against an answer that is an
// error or of no use.
func Unreachable(err error) bool {
	var (
		asked  *url.Error
		netErr net.Error
		status api.StatusError
	)
	if errors.As(err, &status) {
		return false
	}
	return errors.Is(err, errSilent) || errors.As(err, &asked) || errors.As(err, &netErr)
}

// happened names a failure in the log: an agent that answers, if only with an
// error, must not be called one that does not.
func happened(err error) string {
	var status api.StatusError
	switch {
	case errors.As(err, &status) && status.Code < 500:
		return "agent refuses a question"
	case errors.As(err, &status):
		return "agent answers with an error"
	case Unreachable(err):
		return "agent does not answer"
	}
	return "agent's answer is of no use"
}
