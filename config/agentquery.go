package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream/answer"
	"connect-proxy/upstream/watch"
)

// errUnknown marks an answer that says that the agent knows no such proxy.
var errUnknown = errors.New("not registered")

// queryProxy gets a proxy's registration. Consul 1.2 knows a managed proxy by its own
// endpoint alone, later agents without managed proxies by the other alone, and
// both say 404 for what they do not know. While an agent reloads its configuration
// it knows a managed proxy by the other alone, without its upstreams: one that was
// known is not asked for there as long as the agent has the first endpoint.
func (a *Agent) queryProxy(id string, q *api.QueryOptions) (agentAnswer, error) {
	what := fmt.Sprintf("proxy %s", quoted(id))
	if a.o.Managed {
		body, err := a.get("/v1/agent/connect/proxy/"+id, what, q)
		if !errors.Is(err, errUnknown) || a.last.managed && looked(err) {
			return a.understood(agentAnswer{id: id, managed: true, body: body}, what, err)
		}
	}
	body, err := a.get("/v1/agent/service/"+id, what, q)
	return a.understood(agentAnswer{id: id, body: body}, what, err)
}

// looked reports whether a 404 is of an agent that has the endpoint and looked for the ID.
func looked(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && strings.Contains(strings.ToLower(status.Body), "unknown")
}

// get returns what the agent said. It is the last answer's own where it is the
// same.
func (a *Agent) get(path, what string, q *api.QueryOptions) (string, error) {
	body, _, err := answer.Query(q.Context(), a.o.Client, path, q, &a.body)
	switch {
	case err != nil:
		return "", a.explain(err, what)
	case string(body) == a.last.body:
		return a.last.body, nil
	}
	return string(body), nil
}

// understood returns ans if it is about a proxy. An answer that was understood the
// last time is not looked at again.
func (a *Agent) understood(ans agentAnswer, what string, err error) (agentAnswer, error) {
	if err != nil || ans == a.last {
		return ans, err
	}
	var id string
	if ans.managed {
		var m managedAnswer
		m, err = unmarshal[managedAnswer](ans.body)
		id = m.ProxyServiceID
	} else {
		var s serviceAnswer
		s, err = unmarshal[serviceAnswer](ans.body)
		id = s.ID
	}
	if err != nil || id == "" {
		return ans, a.unintelligible(what, err)
	}
	a.last = ans
	return ans, nil
}

var errEmpty = errors.New("it is about nothing")

// unintelligible is the error of an answer that makes no sense.
func (a *Agent) unintelligible(what string, err error) error {
	if err == nil {
		err = errEmpty
	}
	return watch.Explained(fmt.Sprintf("the answer of %s about %s is not understood: %v: check that -http-addr names a Consul agent", a.o.Address, what, err), err)
}

// sidecars gives the IDs of the proxies registered for SidecarFor: at least
// one, or an error.
func (a *Agent) sidecars(ctx context.Context) ([]string, error) {
	var services map[string]struct {
		Kind  string
		Proxy struct{ DestinationServiceID string }
	}
	what := fmt.Sprintf("the proxy of service %s", quoted(a.o.SidecarFor))
	meta, err := a.o.Client.Raw().Query("/v1/agent/services", &services, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, a.explain(err, what)
	}
	var exact, folded []string
	for _, id := range slices.Sorted(maps.Keys(services)) {
		s := services[id]
		switch dest := s.Proxy.DestinationServiceID; {
		case s.Kind != kindProxy:
		case dest == a.o.SidecarFor:
			exact = append(exact, id)
		case strings.EqualFold(dest, a.o.SidecarFor):
			folded = append(folded, id)
		}
	}
	switch {
	case len(exact) > 0:
		return exact, nil
	case len(folded) > 0:
		return folded, nil
	}
	hint := "register one with proxy.destination_service_id set to that ID, or with connect.sidecar_service"
	if meta.ResultsFilteredByACLs || len(services) == 0 {
		hint += "; the token may also lack service:read on it"
	}
	return nil, fmt.Errorf("%s is not registered at %s: %s", what, a.o.Address, hint)
}

// explain makes one line of a failed question: what happened, to what, and
// what to do.
func (a *Agent) explain(err error, what string) error {
	var status api.StatusError
	if errors.As(err, &status) {
		return a.explainStatus(status, what)
	}
	var (
		syntax *json.SyntaxError
		typ    *json.UnmarshalTypeError
		asked  *url.Error
	)
	switch {
	case errors.As(err, &asked):
		err = withoutURL{asked}
	case errors.As(err, &syntax), errors.As(err, &typ), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return a.unintelligible(what, err)
	}
	return fmt.Errorf("asking %s about %s: %w", a.o.Address, what, err)
}

// withoutURL is a failed request without its URL, which says less than what is
// said here.
type withoutURL struct{ asked *url.Error }

func (e withoutURL) Error() string { return e.asked.Err.Error() }
func (e withoutURL) Unwrap() error { return e.asked }

func (a *Agent) explainStatus(s api.StatusError, what string) error {
	switch s.Code {
	case http.StatusNotFound:
		if !looked(s) {
			return watch.Explained(fmt.Sprintf("%s knows nothing of %s (404: %s): check that -http-addr names a Consul agent, with the right path", a.o.Address, what, excerptOf(s.Body)),
				errors.Join(errUnknown, s))
		}
		return watch.Explained(fmt.Sprintf("%s is %v at %s: check the ID, or list what is registered with: consul services list, or GET /v1/agent/services", what, errUnknown, a.o.Address),
			errors.Join(errUnknown, s))
	case http.StatusForbidden:
		return watch.Explained(fmt.Sprintf("%s refuses to say anything about %s: %s", a.o.Address, what, a.missingPermission(s.Body)), s)
	case http.StatusTooManyRequests:
		return watch.Explained(fmt.Sprintf("%s has no time for the question about %s (429): raise its limits if this lasts", a.o.Address, what), s)
	}
	text := fmt.Sprintf("%s answered the question about %s with status %d: %s", a.o.Address, what, s.Code, excerptOf(s.Body))
	if hint := watch.Hint(s); hint != "" {
		text += ": " + hint
	}
	return watch.Explained(text, s)
}

// lacking is how agents since Consul 1.12 name a permission.
var lacking = regexp.MustCompile(`lacks permission '([a-z:]+)' on "([^"]+)"`)

func (a *Agent) missingPermission(body string) string {
	if strings.Contains(body, "ACL not found") {
		return "Consul does not know the token: give one that exists with -token, -token-file or CONSUL_HTTP_TOKEN"
	}
	if m := lacking.FindStringSubmatch(body); m != nil {
		return fmt.Sprintf("the token lacks %s on %s: add it to the token's policy", m[1], quoted(m[2]))
	}
	if a.o.Managed {
		return "the token lacks service:write on the service behind the proxy: the agent hands the right token over in CONNECT_PROXY_TOKEN"
	}
	return "the token lacks service:read on the proxy's service name: add it to the token's policy"
}

// secret is what tokens look like, and IDs that nobody misses.
var secret = regexp.MustCompile(`[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`)

// excerptOf is the beginning of a body that came with an error.
func excerptOf(body string) string {
	if s := excerpt(secret.ReplaceAllString(body, "…")); s != "" {
		return s
	}
	return "no reason given"
}
