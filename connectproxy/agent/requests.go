package agent

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
)

// endpoint is what a question to the agent is about.
type endpoint int

// The endpoints, a closed set. The first is for what fits no other.
const (
	endpointOther endpoint = iota
	endpointRegistration
	endpointLeaf
	endpointRoots
	endpointAuthorize
	endpointIntentions
	endpointInstances
	endpointChain
	endpointQuery
	endpointConfig
	endpointRegister
	endpoints // how many there are
)

var endpointNames = [endpoints]string{
	"other", "registration", "leaf", "roots", "authorize", "intentions", "instances", "chain", "query", "config", "register",
}

// endpointPaths are looked through in this order.
var endpointPaths = []struct {
	prefix string
	endpoint
}{
	{"/v1/agent/connect/proxy/", endpointRegistration},
	{"/v1/agent/connect/ca/leaf/", endpointLeaf},
	{"/v1/agent/connect/ca/roots", endpointRoots},
	{"/v1/connect/ca/roots", endpointRoots},
	{"/v1/agent/connect/authorize", endpointAuthorize},
	{"/v1/agent/service/register", endpointRegister},
	{"/v1/agent/service/deregister/", endpointRegister},
	{"/v1/agent/check/", endpointRegister},
	{"/v1/agent/service", endpointRegistration}, // also /v1/agent/services
	{"/v1/connect/intentions", endpointIntentions},
	{"/v1/health/", endpointInstances},
	{"/v1/discovery-chain/", endpointChain},
	{"/v1/query/", endpointQuery},
	{"/v1/config/", endpointConfig},
}

func endpointOf(path string) endpoint {
	for _, p := range endpointPaths {
		if strings.HasPrefix(path, p.prefix) {
			return p.endpoint
		}
	}
	return endpointOther
}

// result is what a question came to.
type result int

// The results, a closed set.
const (
	resultOK result = iota
	resultDenied
	resultNotFound
	resultThrottled
	resultTimeout
	resultError
	results // how many there are
)

var resultNames = [results]string{"ok", "denied", "not_found", "throttled", "timeout", "error"}

func resultOf(resp *http.Response, err error) result {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return resultTimeout
	case err != nil:
		return resultError
	case resp.StatusCode < 300:
		return resultOK
	case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusUnauthorized:
		return resultDenied
	case resp.StatusCode == http.StatusNotFound:
		return resultNotFound
	case resp.StatusCode == http.StatusTooManyRequests:
		return resultThrottled
	}
	return resultError
}

// requestCounts counts the questions to an agent.
type requestCounts struct {
	n [endpoints][results]atomic.Uint64
}

// observe counts one. One that its asker has given up came to nothing.
func (q *requestCounts) observe(r *http.Request, resp *http.Response, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	q.n[endpointOf(r.URL.Path)][resultOf(resp, err)].Add(1)
}

// byName leaves out what never happened.
func (q *requestCounts) byName() map[string]map[string]uint64 {
	all := make(map[string]map[string]uint64)
	for e := range q.n {
		for r := range q.n[e] {
			n := q.n[e][r].Load()
			if n == 0 {
				continue
			}
			if all[endpointNames[e]] == nil {
				all[endpointNames[e]] = make(map[string]uint64)
			}
			all[endpointNames[e]][resultNames[r]] = n
		}
	}
	return all
}
