package devagent

import (
	"net/http"
	"time"
)

// routes maps the endpoints. What is not here is answered as an agent answers
// what it does not know.
func (a *Agent) routes() http.Handler {
	mux := http.NewServeMux()
	at := func(pattern string, wait time.Duration, compute func(*http.Request) answer) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			a.serve(w, r, wait, func() answer { return compute(r) })
		})
	}
	a.identityRoutes(at)
	a.serviceRoutes(at)
	a.catalogRoutes(at)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { a.noEndpoint(w) })
	return mux
}

// routeFunc adds an endpoint that blocks for as long as wait by default.
type routeFunc = func(pattern string, wait time.Duration, compute func(*http.Request) answer)

func (a *Agent) identityRoutes(at routeFunc) {
	at("GET /v1/agent/connect/ca/roots", cacheWait, a.getRoots)
	at("GET /v1/agent/connect/ca/leaf/{service}", cacheWait, a.getLeaf)
	at("POST /v1/agent/connect/authorize", never, a.authorize)
	at("GET /v1/connect/ca/roots", serverWait, a.getServerRoots)
	at("GET /v1/connect/ca/configuration", never, a.getCA)
	at("PUT /v1/connect/ca/configuration", never, a.putCA)
	at("GET /v1/connect/intentions", serverWait, a.listIntentions)
	at("GET /v1/connect/intentions/match", serverWait, a.matchIntentions)
	at("GET /v1/connect/intentions/check", never, a.checkIntention)
	at("POST /v1/connect/intentions", never, a.createIntention)
	at("GET /v1/connect/intentions/{id}", serverWait, a.getIntention)
	at("PUT /v1/connect/intentions/{id}", never, a.updateIntention)
	at("DELETE /v1/connect/intentions/{id}", never, a.deleteIntention)
	if a.o.Managed {
		return
	}
	at("GET /v1/connect/intentions/exact", serverWait, a.getExact)
	at("PUT /v1/connect/intentions/exact", never, a.putExact)
	at("DELETE /v1/connect/intentions/exact", never, a.deleteExact)
}

func (a *Agent) serviceRoutes(at routeFunc) {
	at("GET /v1/agent/self", never, a.getSelf)
	at("GET /v1/status/leader", never, a.getLeader)
	at("GET /v1/agent/services", never, a.listServices)
	at("GET /v1/agent/service/{id}", serverWait, a.getService)
	at("GET /v1/agent/connect/proxy/{id}", serverWait, a.getManaged)
	at("PUT /v1/agent/service/register", never, a.register)
	at("PUT /v1/agent/service/deregister/{id}", never, a.deregister)
	at("PUT /v1/agent/service/maintenance/{id}", never, a.maintain)
	at("GET /v1/agent/checks", never, a.listChecks)
	at("PUT /v1/agent/check/update/{id}", never, a.updateCheck)
	for _, way := range []string{"pass", "warn", "fail"} {
		at("PUT /v1/agent/check/"+way+"/{id}", never, a.setCheck(way))
	}
}

func (a *Agent) catalogRoutes(at routeFunc) {
	at("GET /v1/health/connect/{service}", serverWait, a.healthConnect)
	at("GET /v1/health/service/{service}", serverWait, a.healthService)
	at("GET /v1/catalog/services", serverWait, a.catalogServices)
	at("GET /v1/catalog/datacenters", never, a.catalogDatacenters)
	at("GET /v1/query", serverWait, a.listQueries)
	at("POST /v1/query", never, a.createQuery)
	at("GET /v1/query/{id}", serverWait, a.getQuery)
	at("PUT /v1/query/{id}", never, a.putQuery)
	at("DELETE /v1/query/{id}", never, a.deleteQuery)
	at("GET /v1/query/{id}/execute", never, a.executeQuery)
	at("GET /v1/query/{id}/explain", never, a.explainQuery)
	at("GET /v1/config/{kind}/{name}", serverWait, a.getEntry)
	if a.o.Managed {
		return
	}
	at("GET /v1/discovery-chain/{service}", serverWait, a.getChain)
	at("POST /v1/discovery-chain/{service}", serverWait, a.getChain)
	at("PUT /v1/config", never, a.putEntry)
	at("GET /v1/config/{kind}", serverWait, a.listEntries)
	at("DELETE /v1/config/{kind}/{name}", never, a.deleteEntry)
}
