package devagent_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/devagent"
)

// only says which of the two versions a request is for; zero is both.
type only int

const (
	modern  only = iota + 1 // 1.15.4
	managed                 // 1.5.3
)

// asked is one request of the table, in order: what it changes is there for
// those after it. A path may hold {id}, the ID in the last answer that had one.
type asked struct {
	name, method, path, body string
	only                     only
}

const (
	register   = "/v1/agent/service/register"
	authorize  = "/v1/agent/connect/authorize"
	webSidecar = `{"Name":"web","Port":8080,"Tags":["v1"],"Meta":{"version":"1"},"Connect":{"SidecarService":{"Port":21000,
		"Check":{"TTL":"1h","Status":"passing"},
		"Proxy":{"Upstreams":[{"DestinationName":"api","LocalBindPort":9191,"Config":{"connect_timeout_ms":2000}}]}}}}`
	apiProxy = `{"Kind":"connect-proxy","ID":"api-1","Name":"api-proxy","Port":8443,"Address":"127.0.0.1",
		"Proxy":{"DestinationServiceName":"api","LocalServicePort":8081,"Config":{"bind_port":8444}},
		"Check":{"CheckID":"api-1-readiness","Name":"Connect proxy readiness","TTL":"1h","Status":"passing"}}`
)

func may(target, uri string) string {
	return fmt.Sprintf(`{"Target":%q,"ClientCertURI":%q,"ClientCertSerial":"01:02"}`, target, uri)
}

func uriOf(service string) string {
	return "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/" + service
}

var table = []asked{
	{"roots", "GET", "/v1/agent/connect/ca/roots", "", 0},
	{"roots of the servers", "GET", "/v1/connect/ca/roots?stale", "", 0},
	{"a leaf of a service that nobody has registered", "GET", "/v1/agent/connect/ca/leaf/new", "", 0},
	{"the CA's settings", "GET", "/v1/connect/ca/configuration", "", 0},
	{"no such path", "GET", "/v1/no/such/path", "", 0},

	{"registering a service with a sidecar", "PUT", register, webSidecar, 0},
	{"the service", "GET", "/v1/agent/service/web", "", 0},
	{"its sidecar", "GET", "/v1/agent/service/web-sidecar-proxy", "", 0},
	{"registering a proxy", "PUT", register, apiProxy, 0},
	{"the proxy", "GET", "/v1/agent/service/api-1", "", 0},
	{"registering without a name", "PUT", register, `{"Port":1}`, 0},
	{"a proxy without a destination", "PUT", register, `{"Kind":"connect-proxy","Name":"p","Port":1}`, 0},
	{"a proxy without a port", "PUT", register, `{"Kind":"connect-proxy","Name":"p","Proxy":{"DestinationServiceName":"api"}}`, 0},
	{"a check without a time", "PUT", register, `{"Name":"x","Check":{"Name":"c"}}`, 0},
	{"rubbish", "PUT", register, `{"Name":`, 0},
	{"an unknown service", "GET", "/v1/agent/service/other", "", 0},
	{"an unknown managed proxy", "GET", "/v1/agent/connect/proxy/other", "", 0},
	{"all services", "GET", "/v1/agent/services", "", 0},
	{"a managed proxy", "GET", "/v1/agent/connect/proxy/cron-proxy", "", managed},
	{"a managed proxy as a service", "GET", "/v1/agent/service/cron-proxy", "", managed},
	{"a managed proxy in the catalog", "GET", "/v1/health/connect/cron", "", managed},

	{"instances", "GET", "/v1/health/connect/web?passing=1", "", 0},
	{"instances, in other letters", "GET", "/v1/health/connect/WEB?passing", "", 0},
	{"instances from the cache", "GET", "/v1/health/connect/web?passing=1&cached", "", 0},
	{"instances of the service itself", "GET", "/v1/health/service/web", "", 0},
	{"no instances", "GET", "/v1/health/connect/other?passing=1", "", 0},
	{"instances by a filter", "GET", "/v1/health/service/web?filter=Service.Meta.version+%3D%3D+1", "", 0},
	{"instances by a filter that fits none", "GET", "/v1/health/service/web?filter=Service.Meta.version+%3D%3D+2", "", 0},
	{"instances by a tag", "GET", "/v1/health/connect/web?tag=v1", "", 0},
	{"instances by another tag", "GET", "/v1/health/connect/web?tag=v2", "", 0},
	{"instances elsewhere", "GET", "/v1/health/connect/web?dc=dc9", "", 0},
	{"gateways", "GET", `/v1/catalog/services?filter=ServiceKind+%3D%3D+%22mesh-gateway%22`, "", modern},
	{"proxies", "GET", `/v1/catalog/services?filter=ServiceKind+%3D%3D+%22connect-proxy%22`, "", modern},
	{"datacenters", "GET", "/v1/catalog/datacenters", "", 0},

	{"a check that warns", "PUT", "/v1/agent/check/update/api-1-readiness", `{"Status":"warning","Output":"slow"}`, 0},
	{"instances that pass", "GET", "/v1/health/connect/api?passing=1", "", 0},
	{"instances that warn", "GET", "/v1/health/connect/api", "", 0},
	{"a check that fails", "PUT", "/v1/agent/check/fail/api-1-readiness?note=down", "", 0},
	{"instances that fail", "GET", "/v1/health/connect/api", "", 0},
	{"registering again", "PUT", register, apiProxy, 0},
	{"a check keeps what it said", "GET", "/v1/health/connect/api", "", 0},
	{"a check that passes", "PUT", "/v1/agent/check/pass/api-1-readiness", "", 0},
	{"instances that pass again", "GET", "/v1/health/connect/api?passing=1", "", 0},
	{"an unknown check", "PUT", "/v1/agent/check/update/other", `{"Status":"passing"}`, 0},
	{"a status that is none", "PUT", "/v1/agent/check/update/api-1-readiness", `{"Status":"fine"}`, 0},
	{"maintenance", "PUT", "/v1/agent/service/maintenance/api-1?enable=true&reason=work", "", 0},
	{"instances under maintenance", "GET", "/v1/health/connect/api", "", 0},
	{"none of which passes", "GET", "/v1/health/connect/api?passing", "", 0},
	{"maintenance is over", "PUT", "/v1/agent/service/maintenance/api-1?enable=false", "", 0},
	{"instances after it", "GET", "/v1/health/connect/api?passing", "", 0},

	{"by default", "POST", authorize, may("web", uriOf("api")), 0},
	{"no intentions", "GET", "/v1/connect/intentions/match?by=destination&name=web", "", 0},
	{"an empty list", "GET", "/v1/connect/intentions", "", 0},
	{"all are denied to all", "PUT", exact("*", "*"), `{"Action":"deny"}`, modern},
	{"all are denied to web", "PUT", exact("*", "web"), `{"Action":"deny","Description":"closed"}`, modern},
	{"db is allowed to all", "PUT", exact("db", "*"), `{"Action":"allow"}`, modern},
	{"api is allowed to web", "PUT", exact("api", "web"), `{"Action":"allow"}`, modern},
	{"all are denied to all, the old way", "POST", "/v1/connect/intentions", old("*", "*", "deny"), managed},
	{"all are denied to web, the old way", "POST", "/v1/connect/intentions", old("*", "web", "deny"), managed},
	{"db is allowed to all, the old way", "POST", "/v1/connect/intentions", old("db", "*", "allow"), managed},
	{"api is allowed to web, the old way", "POST", "/v1/connect/intentions", old("api", "web", "allow"), managed},
	{"the one just made", "GET", "/v1/connect/intentions/{id}", "", managed},
	{"the one between two", "GET", exact("*", "web"), "", modern},
	{"none between two", "GET", exact("x", "y"), "", modern},
	{"an intention that says nothing", "PUT", exact("x", "y"), `{}`, modern},
	{"an intention that looks into requests", "PUT", exact("x", "y"), `{"Permissions":[{"Action":"allow","HTTP":{"PathPrefix":"/"}}]}`, modern},
	{"the list by precedence", "GET", "/v1/connect/intentions", "", 0},
	{"those to web", "GET", "/v1/connect/intentions/match?by=destination&name=web", "", 0},
	{"those to another", "GET", "/v1/connect/intentions/match?by=destination&name=other", "", 0},
	{"those of db", "GET", "/v1/connect/intentions/match?by=source&name=db", "", 0},
	{"by nothing", "GET", "/v1/connect/intentions/match?name=db", "", modern},
	{"allowed by name", "POST", authorize, may("web", uriOf("api")), 0},
	{"denied by a wildcard", "POST", authorize, may("web", uriOf("other")), 0},
	{"denied though allowed to all", "POST", authorize, may("web", uriOf("db")), 0},
	{"allowed to all", "POST", authorize, may("other", uriOf("db")), 0},
	{"denied to all", "POST", authorize, may("other", uriOf("x")), 0},
	{"no target", "POST", authorize, may("", uriOf("x")), 0},
	{"no identity", "POST", authorize, may("web", "http://web"), 0},
	{"half an identity", "POST", authorize, may("web", "spiffe://domain.consul/svc/web"), 0},
	{"may api call web", "GET", "/v1/connect/intentions/check?source=api&destination=web", "", 0},
	{"may db call web", "GET", "/v1/connect/intentions/check?source=db&destination=web", "", 0},
	{"it goes", "DELETE", exact("api", "web"), "", modern},
	{"it goes, the old way", "DELETE", "/v1/connect/intentions/{id}", "", managed},
	{"denied once it has gone", "POST", authorize, may("web", uriOf("api")), 0},

	{"intentions as an entry", "PUT", "/v1/config", `{"Kind":"service-intentions","Name":"db","Sources":[
		{"Name":"api","Action":"allow","Description":"readers"},{"Name":"web","Action":"deny"}]}`, modern},
	{"an entry that looks into requests", "PUT", "/v1/config", `{"Kind":"service-intentions","Name":"db","Sources":[
		{"Name":"web","Permissions":[{"Action":"allow","HTTP":{"PathPrefix":"/"}}]}]}`, modern},
	{"an entry without an action", "PUT", "/v1/config", `{"Kind":"service-intentions","Name":"db","Sources":[{"Name":"web"}]}`, modern},
	{"an entry without sources", "PUT", "/v1/config", `{"Kind":"service-intentions","Name":"db"}`, modern},
	{"an entry without a name", "PUT", "/v1/config", `{"Kind":"service-resolver"}`, modern},
	{"an entry of no kind", "PUT", "/v1/config", `{"Kind":"nonsense","Name":"db"}`, modern},
	{"allowed by the entry", "POST", authorize, may("db", uriOf("api")), modern},
	{"denied by the entry", "POST", authorize, may("db", uriOf("web")), modern},
	{"the entry", "GET", "/v1/config/service-intentions/db", "", modern},
	{"the entry as intentions", "GET", "/v1/connect/intentions/match?by=destination&name=db", "", modern},
	{"the entry goes", "DELETE", "/v1/config/service-intentions/db", "", modern},
	{"and is gone", "GET", "/v1/config/service-intentions/db", "", modern},
	{"denied once the entry has gone", "POST", authorize, may("db", uriOf("api")), modern},

	{"a chain of its own", "GET", "/v1/discovery-chain/plain", "", modern},
	{"a resolver with subsets and failover", "PUT", "/v1/config", `{"Kind":"service-resolver","Name":"api","DefaultSubset":"v2","ConnectTimeout":"3s",
		"Subsets":{"v1":{"Filter":"Service.Meta.version == 1"},"v2":{"Filter":"Service.Meta.version == 2","OnlyPassing":true}},
		"Failover":{"v2":{"ServiceSubset":"v1"},"*":{"Service":"spare","Datacenters":["dc1","dc2"]}}}`, modern},
	{"the resolver", "GET", "/v1/config/service-resolver/api", "", modern},
	{"its chain", "GET", "/v1/discovery-chain/api", "", modern},
	{"its chain as TCP", "POST", "/v1/discovery-chain/api", `{"OverrideProtocol":"tcp"}`, modern},
	{"a redirect", "PUT", "/v1/config", `{"Kind":"service-resolver","Name":"old","Redirect":{"Service":"api","ServiceSubset":"v1"}}`, modern},
	{"the redirect's chain", "GET", "/v1/discovery-chain/old", "", modern},
	{"a redirect elsewhere", "PUT", "/v1/config", `{"kind":"service-resolver","name":"far","redirect":{"service":"spare","datacenter":"dc2"}}`, modern},
	{"the chain that leads elsewhere", "GET", "/v1/discovery-chain/far", "", modern},
	{"a subset that is none", "PUT", "/v1/config", `{"Kind":"service-resolver","Name":"bad","DefaultSubset":"v9"}`, modern},
	{"all resolvers", "GET", "/v1/config/service-resolver", "", modern},
	{"a resolver goes", "DELETE", "/v1/config/service-resolver/old", "", modern},
	{"and its chain is its own again", "GET", "/v1/discovery-chain/old", "", modern},
	{"chains there are none", "GET", "/v1/discovery-chain/web", "", managed},

	{"no mesh entry", "GET", "/v1/config/mesh/mesh", "", 0},
	{"a mesh entry", "PUT", "/v1/config", `{"Kind":"mesh","TLS":{"Incoming":{"TLSMinVersion":"TLSv1_3"},
		"Outgoing":{"TLSMinVersion":"TLSv1_2","CipherSuites":["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]}}}`, modern},
	{"the mesh entry", "GET", "/v1/config/mesh/mesh", "", modern},
	{"a version that is none", "PUT", "/v1/config", `{"Kind":"mesh","TLS":{"Incoming":{"TLSMinVersion":"TLSv9"}}}`, modern},
	{"versions the wrong way round", "PUT", "/v1/config", `{"Kind":"mesh","TLS":{"Outgoing":{"TLSMinVersion":"TLSv1_3","TLSMaxVersion":"TLSv1_2"}}}`, modern},
	{"the mesh entry goes", "DELETE", "/v1/config/mesh/mesh", "", modern},
	{"and is gone", "GET", "/v1/config/mesh/mesh", "", modern},

	{"a query", "POST", "/v1/query", `{"Name":"near-web","Service":{"Service":"web","OnlyPassing":true,"Tags":["v1","!v9"],"Connect":true}}`, 0},
	{"the query by its ID", "GET", "/v1/query/{id}", "", 0},
	{"its answer by name", "GET", "/v1/query/near-web/execute?connect=true", "", 0},
	{"its answer by its ID", "GET", "/v1/query/{id}/execute", "", 0},
	{"its explanation", "GET", "/v1/query/near-web/explain", "", 0},
	{"a query of the same name", "POST", "/v1/query", `{"Name":"near-web","Service":{"Service":"web"}}`, 0},
	{"a query for nothing", "POST", "/v1/query", `{"Name":"none"}`, 0},
	{"the query altered", "PUT", "/v1/query/{id}", `{"Name":"near-web","Service":{"Service":"web","Tags":["v9"]}}`, 0},
	{"its other answer", "GET", "/v1/query/near-web/execute?connect=true", "", 0},
	{"the query goes", "DELETE", "/v1/query/{id}", "", 0},
	{"its answer when it has gone", "GET", "/v1/query/near-web/execute?connect=true", "", 0},

	{"deregistering", "PUT", "/v1/agent/service/deregister/web", "", 0},
	{"the service has gone", "GET", "/v1/agent/service/web", "", 0},
	{"and its sidecar with it", "GET", "/v1/agent/service/web-sidecar-proxy", "", 0},
	{"no instance is left", "GET", "/v1/health/connect/web", "", 0},
	{"deregistering what is not there", "PUT", "/v1/agent/service/deregister/web", "", 0},
}

func exact(source, destination string) string {
	return fmt.Sprintf("/v1/connect/intentions/exact?source=%s&destination=%s", source, destination)
}

func old(source, destination, action string) string {
	return fmt.Sprintf(`{"SourceName":%q,"DestinationName":%q,"SourceType":"consul","Action":%q}`, source, destination, action)
}

// settled bounds how long a server may take to hear of what its agent knows.
const settled = 20 * time.Second

func TestTheInProcessAgentAnswersAsRealAgentsDo(t *testing.T) {
	agenttest.SkipShort(t)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Consul 1.15.4", func(t *testing.T) {
		compare(t, modern, agenttest.Modern(t, agenttest.Options{}), run(t, devagent.Options{}))
	})
	t.Run("Consul 1.5.3", func(t *testing.T) {
		cron := agenttest.ManagedService{Name: "cron", Port: 8082, Command: []string{sleep, "3600"},
			Config: map[string]any{"bind_port": 21999}}
		real := agenttest.Managed(t, agenttest.Options{HCL: []string{cron.Text()}})
		real.ProxyPid("cron-proxy")
		ours := run(t, devagent.Options{Managed: true})
		if err := ours.Register(api.AgentServiceRegistration{Name: "cron", Port: 8082}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ours.Manage(devagent.ManagedProxy{Service: "cron", Port: 21999, Command: cron.Command, Config: cron.Config}); err != nil {
			t.Fatal(err)
		}
		compare(t, managed, real, ours)
	})
}

// compare asks both agents the whole table. What goes to the catalog arrives
// there a moment later, so a question is put again until the answers agree.
func compare(t *testing.T, version only, theirs *agenttest.Agent, ours running) {
	theirID, ourID := "", ""
	for _, q := range table {
		if q.only != 0 && q.only != version {
			continue
		}
		t.Run(q.name, func(t *testing.T) {
			within := settled
			if q.changes() {
				within = 0
			}
			agenttest.Eventually(t, within, func() error {
				want := ask(t, "http://"+theirs.HTTPAddr, q.method, strings.ReplaceAll(q.path, "{id}", theirID), q.body)
				got := ask(t, ours.url, q.method, strings.ReplaceAll(q.path, "{id}", ourID), q.body)
				if diff := cmp.Diff(want.meaning(t), got.meaning(t)); diff != "" {
					return fmt.Errorf("%s %s: Consul (-), the agent in this process (+):\n%s", q.method, q.path, diff)
				}
				theirID, ourID = want.newID(theirID), got.newID(ourID)
				return nil
			})
		})
	}
}

// changes reports whether a request may not be made twice.
func (q asked) changes() bool { return q.method != http.MethodGet && q.path != authorize }

// newID is the ID of what a request has made, or the one before.
func (s said) newID(before string) string {
	var made map[string]string
	if json.Unmarshal(s.body, &made) == nil && len(made) == 1 && made["ID"] != "" {
		return made["ID"]
	}
	return before
}

// volatile are the keys whose values are each agent's own: of these only the
// type is compared.
var volatile = []string{
	"ActiveRootID", "TrustDomain", "ID", "SerialNumber", "SigningKeyID", "ExternalTrustDomain",
	"NotBefore", "NotAfter", "RootCert", "CertPEM", "PrivateKeyPEM", "ServiceURI", "ValidAfter", "ValidBefore",
	"CreateIndex", "ModifyIndex", "ContentHash", "CreatedAt", "UpdatedAt", "Output", "Index",
}

// meaning is what must be the same: status, which headers there are, and every
// value of the body but those that are each agent's own.
func (s said) meaning(t *testing.T) []string {
	t.Helper()
	lines := []string{fmt.Sprint("status ", s.status)}
	for name := range s.header {
		switch name {
		case "Date", "Content-Length", "Connection":
		case "Age": // of a hit of the cache alone
		case "Content-Type", "X-Consul-Default-Acl-Policy", "X-Consul-Knownleader", "X-Consul-Effective-Consistency":
			lines = append(lines, "header "+name+": "+s.header.Get(name))
		default:
			lines = append(lines, "header "+name)
		}
	}
	if !strings.HasPrefix(s.header.Get("Content-Type"), "application/json") {
		lines = append(lines, "text "+strings.TrimSpace(string(s.body)))
	} else {
		var body any
		if err := json.Unmarshal(s.body, &body); err != nil {
			t.Fatalf("%s: %v", s.body, err)
		}
		values(body, "", &lines)
	}
	slices.Sort(lines)
	return lines
}

// uuid is of an intention, a trust domain, a node: each agent's own.
var uuid = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// values adds the path and the value of everything in v.
func values(v any, path string, into *[]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if key == "TaggedAddresses" { // of the machine, and of virtual addresses
				continue
			}
			if slices.Contains(volatile, key) && ownValue(key, value) {
				value = fmt.Sprintf("%T", value)
			}
			values(value, path+"."+key, into)
		}
	case []any:
		for i, value := range v {
			values(value, fmt.Sprintf("%s[%d]", path, i), into)
		}
	case nil: // an agent says null here and an empty list there for the same
	default:
		*into = append(*into, fmt.Sprintf("%s = %s", path, uuid.ReplaceAllString(fmt.Sprint(v), "<UUID>")))
	}
}

// ownValue reports whether a value is one that each agent makes itself: the IDs of
// services and checks are the client's.
func ownValue(key string, value any) bool {
	text, ok := value.(string)
	return key != "ID" || ok && (strings.Count(text, "-") == 4 || strings.Count(text, ":") > 10)
}
