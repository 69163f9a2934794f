package devagent

import (
	"fmt"
	"net/http"
	"time"
)

// maxOutput is of what a check says, Consul's.
const maxOutput = 4 << 10

func (a *Agent) listChecks(*http.Request) answer {
	all := map[string]checkView{}
	for id, c := range a.checks {
		all[id] = a.checkView(c, false)
	}
	return answer{body: all}
}

func (a *Agent) updateCheck(r *http.Request) answer {
	var in struct{ Status, Output string }
	if problem, ok := a.decode(r, &in); !ok {
		return problem
	}
	if in.Status != passing && in.Status != warning && in.Status != critical {
		return answer{status: http.StatusBadRequest, text: fmt.Sprintf("Invalid check status: '%s'", in.Status)}
	}
	return a.renew(r.PathValue("id"), in.Status, in.Output)
}

// setCheck is the same with the status in the path: pass, warn or fail.
func (a *Agent) setCheck(way string) func(*http.Request) answer {
	status := map[string]string{"pass": passing, "warn": warning, "fail": critical}[way]
	return func(r *http.Request) answer {
		return a.renew(r.PathValue("id"), status, r.URL.Query().Get("note"))
	}
}

// renew takes what a client reports of a TTL check.
func (a *Agent) renew(id, status, output string) answer {
	c := a.checks[id]
	switch {
	case c == nil && !a.o.Managed:
		return answer{status: http.StatusNotFound, text: fmt.Sprintf("Unknown check ID %q. Ensure that the check ID is passed, not the check name.", id)}
	case c == nil || c.ttl == 0:
		return answer{status: http.StatusInternalServerError, text: fmt.Sprintf("CheckID %q does not have associated TTL", id)}
	}
	if len(output) > maxOutput {
		output = output[:maxOutput]
	}
	c.deadline = time.Now().Add(c.ttl)
	a.setStatus(c, status, output)
	a.updateAliases()
	return answer{}
}
