package fakeagent

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/hashicorp/consul/api"
)

// wake is for a handler that changes something, with the lock held.
func (a *Agent) wake() {
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *Agent) registerAnswer(r *http.Request, _ question) answer {
	var reg api.AgentServiceRegistration
	if err := json.NewDecoder(r.Body).Decode(&reg); err != nil {
		return a.badRequest("Request decode failed: " + err.Error())
	}
	if reg.Name == "" {
		return answer{status: http.StatusBadRequest, text: "Missing service name"}
	}
	if reg.ID == "" {
		reg.ID = reg.Name
	}
	s, err := newService(map[string]any{
		"Kind": reg.Kind, "ID": reg.ID, "Service": reg.Name, "Tags": reg.Tags, "Meta": reg.Meta,
		"Port": reg.Port, "Address": reg.Address, "SocketPath": reg.SocketPath, "Proxy": reg.Proxy,
		"Weights": map[string]any{"Passing": 1, "Warning": 1}, "EnableTagOverride": false, "Datacenter": a.dc,
	})
	if err != nil {
		return answer{status: http.StatusInternalServerError, text: err.Error()}
	}
	a.services[reg.ID] = s
	a.registered = append(a.registered, reg)
	checks := append(api.AgentServiceChecks(nil), reg.Checks...)
	if reg.Check != nil {
		checks = append(checks, reg.Check)
	}
	for n, c := range checks {
		a.checks[checkID(c, reg.ID, n, len(checks))] = orDefault(c.Status, "critical")
	}
	a.wake()
	return answer{}
}

// checkID is how an agent names a check that has no name of its own.
func checkID(c *api.AgentServiceCheck, service string, n, of int) string {
	switch {
	case c.CheckID != "":
		return c.CheckID
	case of > 1:
		return fmt.Sprintf("service:%s:%d", service, n+1)
	}
	return "service:" + service
}

func (a *Agent) deregisterAnswer(r *http.Request, _ question) answer {
	id := r.PathValue("id")
	if _, known := a.services[id]; !known {
		if a.managed {
			return answer{}
		}
		return answer{status: http.StatusNotFound, text: fmt.Sprintf("Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)}
	}
	delete(a.services, id)
	a.wake()
	return answer{}
}

func (a *Agent) checkAnswer(r *http.Request, _ question) answer {
	id := r.PathValue("id")
	if _, known := a.checks[id]; !known {
		if a.managed {
			return answer{status: http.StatusInternalServerError, text: fmt.Sprintf("CheckID %q does not have associated TTL", id)}
		}
		return answer{status: http.StatusNotFound, text: fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)}
	}
	var update struct{ Status, Output string }
	if err := json.NewDecoder(r.Body).Decode(&update); err != nil {
		return a.badRequest("Request decode failed: " + err.Error())
	}
	a.checks[id] = update.Status
	return answer{}
}
