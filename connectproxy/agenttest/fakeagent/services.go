package fakeagent

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"net/http"

	"github.com/hashicorp/consul/api"
)

// service is one registered service, or the configuration of one managed
// proxy, as the agent answers it.
type service struct {
	body map[string]any
	hash string
}

// newService takes what encodes to a JSON object, or its text, and gives it the
// hash that its content has.
func newService(content any) (service, error) {
	text, ok := content.(string)
	if !ok {
		encoded, err := json.Marshal(content)
		if err != nil {
			return service{}, err
		}
		text = string(encoded)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		return service{}, err
	}
	delete(body, "ContentHash")
	// Maps are encoded in the order of their keys: the same text each time.
	canonical, err := json.Marshal(body)
	if err != nil {
		return service{}, err
	}
	h := fnv.New64a()
	h.Write(canonical)
	s := service{body: body, hash: fmt.Sprintf("%x", h.Sum64())}
	body["ContentHash"] = s.hash
	return s, nil
}

// SetService sets what /v1/agent/service/:id answers: an *api.AgentService, any
// other value that encodes to such JSON, or its text, as recorded.
func (a *Agent) SetService(id string, content any) {
	a.t.Helper()
	a.put(a.services, id, content)
}

// RemoveService makes the service unknown, as it is for a moment while an agent
// reloads its configuration.
func (a *Agent) RemoveService(id string) {
	a.change(func() { delete(a.services, id) })
}

// SetManagedProxy sets what /v1/agent/connect/proxy/:id answers, as SetService
// does.
func (a *Agent) SetManagedProxy(id string, content any) {
	a.t.Helper()
	a.put(a.proxies, id, content)
}

// RemoveManagedProxy makes the proxy unknown.
func (a *Agent) RemoveManagedProxy(id string) {
	a.change(func() { delete(a.proxies, id) })
}

func (a *Agent) put(into map[string]service, id string, content any) {
	a.t.Helper()
	s, err := newService(content)
	if err != nil {
		a.t.Fatalf("setting %s: %v", id, err)
	}
	a.change(func() { into[id] = s })
}

// Registered is every registration of a service by a client, the latest last.
func (a *Agent) Registered() []api.AgentServiceRegistration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]api.AgentServiceRegistration(nil), a.registered...)
}

// Check is the status of a check that a client registered, empty for none.
func (a *Agent) Check(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.checks[id]
}

// HasService says whether the agent knows the service.
func (a *Agent) HasService(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known := a.services[id]
	return known
}

// Forget drops every service and check that was registered, as an agent does
// that starts again without its data.
func (a *Agent) Forget() {
	a.change(func() {
		clear(a.services)
		clear(a.checks)
	})
}

func (a *Agent) serviceAnswer(r *http.Request, _ question) answer {
	return a.hashed(a.services, r.PathValue("id"))
}

func (a *Agent) proxyAnswer(r *http.Request, _ question) answer {
	return a.hashed(a.proxies, r.PathValue("id"))
}

func (a *Agent) hashed(from map[string]service, id string) answer {
	s, known := from[id]
	if !known {
		text := "unknown service ID: " + id
		if a.managed {
			text = "unknown proxy service ID: " + id
		}
		return answer{status: http.StatusNotFound, text: text}
	}
	return answer{body: s.body, hash: s.hash}
}

func (a *Agent) servicesAnswer(*http.Request, question) answer {
	all := map[string]any{}
	for id, s := range a.services {
		body := maps.Clone(s.body)
		delete(body, "ContentHash")
		all[id] = body
	}
	return answer{body: all}
}

func (a *Agent) selfAnswer(*http.Request, question) answer {
	version := "1.15.4"
	if a.managed {
		version = "1.5.3"
	}
	return answer{body: map[string]any{
		"Config": map[string]any{
			"Datacenter": a.dc,
			"NodeName":   "node-1",
			"NodeID":     "00000000-0000-4000-8000-000000000001",
			"Revision":   "",
			"Server":     true,
			"Version":    version,
		},
	}}
}
