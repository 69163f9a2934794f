package traffic

import "strings"

// Endpoint is one of the agent's endpoints that the proxy uses, whatever the
// service or ID in its path.
type Endpoint string

// The endpoints, by the last fixed words of their paths.
const (
	Roots           Endpoint = "roots"
	Leaf            Endpoint = "leaf"
	Authorize       Endpoint = "authorize"
	IntentionsMatch Endpoint = "intentions/match"
	Intentions      Endpoint = "intentions"
	ConnectProxy    Endpoint = "connect/proxy"
	Service         Endpoint = "service"
	Services        Endpoint = "services"
	Register        Endpoint = "register"
	Deregister      Endpoint = "deregister"
	CheckUpdate     Endpoint = "check/update"
	Self            Endpoint = "self"
	HealthConnect   Endpoint = "health/connect"
	Query           Endpoint = "query"
	DiscoveryChain  Endpoint = "discovery-chain"
	// Other is everything else.
	Other Endpoint = "other"
	// All is every endpoint together, for counts and faults.
	All Endpoint = "all"
)

// prefixes is in the order in which they are tried.
var prefixes = []struct {
	path     string
	endpoint Endpoint
}{
	{"/v1/agent/connect/ca/roots", Roots},
	{"/v1/agent/connect/ca/leaf/", Leaf},
	{"/v1/agent/connect/authorize", Authorize},
	{"/v1/agent/connect/proxy/", ConnectProxy},
	{"/v1/connect/intentions/match", IntentionsMatch},
	{"/v1/connect/intentions", Intentions},
	{"/v1/agent/services", Services},
	{"/v1/agent/service/register", Register},
	{"/v1/agent/service/deregister/", Deregister},
	{"/v1/agent/service/", Service},
	{"/v1/agent/check/update/", CheckUpdate},
	{"/v1/agent/self", Self},
	{"/v1/health/connect/", HealthConnect},
	{"/v1/query/", Query},
	{"/v1/discovery-chain/", DiscoveryChain},
}

// Of says which endpoint a path belongs to.
func Of(path string) Endpoint {
	for _, p := range prefixes {
		if strings.HasPrefix(path, p.path) {
			return p.endpoint
		}
	}
	return Other
}
