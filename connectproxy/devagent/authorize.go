package devagent

import (
	"net/http"
	"net/url"
	"strings"
)

func (a *Agent) authorize(r *http.Request) answer {
	var in struct{ Target, ClientCertURI, ClientCertSerial string }
	if problem, ok := a.decode(r, &in); !ok {
		return problem
	}
	if in.Target == "" {
		return a.badRequest("Target service must be specified")
	}
	source, problem := serviceIn(in.ClientCertURI)
	if problem != "" {
		return a.badRequest(problem)
	}
	return answer{body: a.decide(source, in.Target), headers: headers{cached: true}}
}

// serviceIn is the service in a SPIFFE URI of Consul's form,
// spiffe://<trust domain>[/ap/<partition>]/ns/<namespace>/dc/<datacenter>/svc/<service>.
// As in Consul, the trust domain does not matter here: the chain of the
// certificate has been verified by who asks.
func serviceIn(text string) (service, problem string) {
	const invalid = "ClientCertURI not a valid Connect identifier"
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "spiffe" || u.Host == "" {
		return "", invalid
	}
	parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	if len(parts) == 8 && parts[0] == "ap" {
		parts = parts[2:]
	}
	if len(parts) != 6 || parts[0] != "ns" || parts[2] != "dc" || parts[4] != "svc" || parts[5] == "" {
		if len(parts) >= 2 && parts[0] == "agent" {
			return "", "ClientCertURI not a valid Service identifier"
		}
		return "", invalid
	}
	return parts[5], ""
}
