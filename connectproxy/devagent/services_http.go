package devagent

import (
	"fmt"
	"net/http"
	"strconv"
)

func (a *Agent) listServices(*http.Request) answer {
	all := map[string]any{}
	for id, s := range a.services {
		v := a.serviceShown(s)
		if d := s.destination(); d != "" && a.o.Managed {
			v["ProxyDestination"] = d
		}
		if p := a.services[id+"-proxy"]; p != nil && p.managed != nil {
			v["Connect"] = p.managed.launched()
		}
		all[id] = v
	}
	return answer{body: all}
}

func (a *Agent) getService(r *http.Request) answer {
	id := r.PathValue("id")
	s := a.services[id]
	if s == nil {
		return a.unknownService(id)
	}
	return answer{body: s.view, hash: s.hash}
}

// unknownService is the answer about an ID that is not there.
func (a *Agent) unknownService(id string) answer {
	text := "unknown service ID: " + id
	if a.o.Managed {
		text = "unknown proxy service ID: " + id
	}
	return answer{status: http.StatusNotFound, text: text}
}

func (a *Agent) deregister(r *http.Request) answer {
	id := r.PathValue("id")
	if a.services[id] == nil {
		if a.o.Managed {
			return answer{}
		}
		return answer{status: http.StatusNotFound, text: fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)}
	}
	a.removeService(id)
	a.updateAliases()
	return answer{}
}

// maintain puts a service into maintenance or takes it out: a check of its own
// that is critical.
func (a *Agent) maintain(r *http.Request) answer {
	id := r.PathValue("id")
	text := r.URL.Query().Get("enable")
	enable, err := strconv.ParseBool(text)
	switch {
	case text == "":
		return a.badRequest("Missing value for enable")
	case err != nil:
		return a.badRequest(fmt.Sprintf("Invalid value for enable: %q", text))
	case a.services[id] == nil:
		return answer{status: http.StatusNotFound, text: fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)}
	}
	c := &check{
		id: "_service_maintenance:" + id, name: "Service Maintenance Mode", kind: "maintenance",
		notes: r.URL.Query().Get("reason"), status: critical, service: id,
	}
	if c.notes == "" {
		c.notes = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
	}
	switch was := a.checks[c.id]; {
	case enable && was == nil && len(a.checks) >= maxChecks:
		return full("checks")
	case enable && was == nil:
		a.putCheck(c)
	case !enable && was != nil:
		a.removeCheck(was)
	}
	a.updateAliases()
	return answer{}
}
