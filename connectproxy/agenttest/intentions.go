package agenttest

import (
	"net/http"
	"net/url"
)

// intention is the legacy form, which every version has.
type intention struct {
	ID              string `json:",omitempty"`
	SourceName      string
	DestinationName string
	SourceType      string
	Action          string
}

// Intention sets the intention between two services, "*" being all, to "allow"
// or "deny".
func (a *Agent) Intention(source, destination, action string) {
	a.t.Helper()
	i := intention{
		SourceName:      source,
		DestinationName: destination,
		SourceType:      "consul",
		Action:          action,
	}
	if !a.ManagesProxies() {
		a.Do(http.MethodPut, exact(source, destination), i, nil)
		return
	}
	if i.ID = a.intentionID(source, destination); i.ID != "" {
		a.Do(http.MethodPut, "/v1/connect/intentions/"+i.ID, i, nil)
		return
	}
	a.Do(http.MethodPost, "/v1/connect/intentions", i, nil)
}

// DeleteIntention removes the intention between two services, if there is one.
func (a *Agent) DeleteIntention(source, destination string) {
	a.t.Helper()
	if !a.ManagesProxies() {
		a.Do(http.MethodDelete, exact(source, destination), nil, nil)
		return
	}
	if id := a.intentionID(source, destination); id != "" {
		a.Do(http.MethodDelete, "/v1/connect/intentions/"+id, nil, nil)
	}
}

// intentionID finds an intention by its two ends: Consul 1.5 has no other way
// to name one than its ID.
func (a *Agent) intentionID(source, destination string) string {
	a.t.Helper()
	var all []intention
	a.Do(http.MethodGet, "/v1/connect/intentions", nil, &all)
	for _, i := range all {
		if i.SourceName == source && i.DestinationName == destination {
			return i.ID
		}
	}
	return ""
}

func exact(source, destination string) string {
	return "/v1/connect/intentions/exact?" + url.Values{
		"source": {source}, "destination": {destination},
	}.Encode()
}
