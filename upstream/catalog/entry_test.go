package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"connect-proxy/upstream"
)

func own(string) bool     { return false }
func foreign(string) bool { return true }

func identity(service, datacenter string) upstream.Identity {
	return upstream.Identity{Service: service, Namespace: "default", Partition: "default", Datacenter: datacenter}
}

func TestRecordedAnswersBecomeEndpoints(t *testing.T) {
	db := func(datacenter string) []upstream.Endpoint {
		return []upstream.Endpoint{
			{ID: "Node-One/db-1-sidecar-proxy", Address: "127.0.0.1:21002", Weight: 1, Identity: identity("db", datacenter)},
			{ID: "Node-One/db-2-sidecar-proxy", Address: "db.internal.example:21003", Weight: 2, Identity: identity("db", datacenter)},
			{ID: "Node-One/db-3-sidecar-proxy", Address: "[::1]:21004", Weight: 1, Identity: identity("db", datacenter)},
		}
	}
	for _, c := range []struct {
		name   string
		answer string
		remote func(string) bool
		want   []upstream.Endpoint
	}{
		{"1.5.3: an empty address, a host name, an IPv6 address, weights", "1.5.3-health", own, db("east")},
		{"1.15.4: the same", "1.15.4-health", own, db("west")},
		{"1.5.3: a managed proxy of a service in mixed case", "1.5.3-health-mixed-case", own, []upstream.Endpoint{
			{ID: "Node-One/ledger-1-proxy", Address: "127.0.0.1:20077", Weight: 1, Identity: identity("Ledger", "east")},
		}},
		{"1.15.4: a sidecar of a service in mixed case", "1.15.4-health-mixed-case", own, []upstream.Endpoint{
			{ID: "Node-One/ledger-1-sidecar-proxy", Address: "127.0.0.1:21001", Weight: 1, Identity: identity("Ledger", "west")},
		}},
		{"1.5.3: a native service", "1.5.3-health-native", own, []upstream.Endpoint{
			{ID: "Node-One/native-1", Address: "10.1.2.3:7005", Weight: 1, Identity: identity("Native", "east")},
		}},
		{"1.15.4: a native service", "1.15.4-health-native", own, []upstream.Endpoint{
			{ID: "Node-One/native-1", Address: "10.1.2.3:7005", Weight: 1, Identity: identity("Native", "west")},
		}},
		{"1.5.3: another datacenter", "1.5.3-health-remote", foreign, []upstream.Endpoint{
			{ID: "far-node/archive-1-sidecar-proxy", Address: "127.0.0.1:22003", Weight: 1, Identity: identity("archive", "north")},
		}},
		{"1.15.4: another datacenter has a WAN address", "1.15.4-health-remote", foreign, []upstream.Endpoint{
			{ID: "far-node/archive-1-sidecar-proxy", Address: "203.0.113.5:32003", Weight: 1, Identity: identity("archive", "south")},
		}},
		{"1.15.4: a WAN address is not for its own datacenter", "1.15.4-health-remote", own, []upstream.Endpoint{
			{ID: "far-node/archive-1-sidecar-proxy", Address: "127.0.0.1:22003", Weight: 1, Identity: identity("archive", "south")},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, skipped := setOf(entries(t, c.answer), answerScope{service: "asked", remote: c.remote}, false)
			if diff := cmp.Diff(c.want, s.Endpoints); diff != "" || len(skipped) > 0 {
				t.Errorf("left out %v, endpoints (-want +got):\n%s", skipped, diff)
			}
		})
	}
}

// What no agent at hand can be made to say.
func TestEntriesInOtherShapes(t *testing.T) {
	const node = `"Node": {"Node": "n", "Address": "192.0.2.1", "Datacenter": "dc1", "TaggedAddresses": {"wan": "198.51.100.1"}}`
	const warning = `"Checks": [{"Status": "passing"}, {"Status": "warning"}]`
	for _, c := range []struct {
		name    string
		entry   string
		remote  func(string) bool
		want    upstream.Endpoint
		problem string
	}{
		{"Consul 1.2 names the destination elsewhere and knows no weights",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "ProxyDestination": "web", "Kind": "connect-proxy"}, ` + warning + `}`, own,
			upstream.Endpoint{ID: "n/w", Address: "192.0.2.1:1", Weight: 1, Identity: identity("asked", "dc1")}, ""},
		{"a namespace and a partition",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Namespace": "team-a", "Partition": "eu", "Proxy": {"DestinationServiceName": "web"}}}`, own,
			upstream.Endpoint{ID: "n/w", Address: "192.0.2.1:1", Weight: 1, Identity: upstream.Identity{Service: "web", Namespace: "team-a", Partition: "eu", Datacenter: "dc1"}}, ""},
		{"a node without a datacenter takes the answer's",
			`{"Node": {"Node": "n", "Address": "192.0.2.1"}, "Service": {"ID": "w", "Port": 1}}`, own,
			upstream.Endpoint{ID: "n/w", Address: "192.0.2.1:1", Weight: 1, Identity: identity("asked", "answered")}, ""},
		{"a node's WAN address",
			`{` + node + `, "Service": {"ID": "w", "Port": 1}}`, foreign,
			upstream.Endpoint{ID: "n/w", Address: "198.51.100.1:1", Weight: 1, Identity: identity("asked", "dc1")}, ""},
		{"a service's address goes before its node's WAN address",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Address": "10.9.9.9"}}`, foreign,
			upstream.Endpoint{ID: "n/w", Address: "10.9.9.9:1", Weight: 1, Identity: identity("asked", "dc1")}, ""},
		{"a WAN address without a port",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "TaggedAddresses": {"wan": {"Address": "w.example"}}}}`, foreign,
			upstream.Endpoint{ID: "n/w", Address: "w.example:1", Weight: 1, Identity: identity("asked", "dc1")}, ""},
		{"an IPv6 address in brackets",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Address": "[2001:db8::7]"}}`, own,
			upstream.Endpoint{ID: "n/w", Address: "[2001:db8::7]:1", Weight: 1, Identity: identity("asked", "dc1")}, ""},
		{"the weight while a check warns",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Weights": {"Passing": 5, "Warning": 2}}, ` + warning + `}`, own,
			upstream.Endpoint{ID: "n/w", Address: "192.0.2.1:1", Weight: 2, Identity: identity("asked", "dc1")}, ""},
		{"a weight of 0 while a check warns",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Weights": {"Passing": 5, "Warning": 0}}, ` + warning + `}`, own,
			upstream.Endpoint{}, "an instance whose weight is 0 while it warns"},
		{"a negative weight",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Weights": {"Passing": -5, "Warning": -2}}, ` + warning + `}`, own,
			upstream.Endpoint{ID: "n/w", Address: "192.0.2.1:1", Weight: 1, Identity: identity("asked", "dc1")}, ""},
		{"a negative weight while a check warns",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Weights": {"Passing": 5, "Warning": -2}}, ` + warning + `}`, own,
			upstream.Endpoint{}, "an instance whose weight is 0 while it warns"},
		{"a huge weight",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "Weights": {"Passing": 9223372036854775807, "Warning": 1}}}`, own,
			upstream.Endpoint{ID: "n/w", Address: "192.0.2.1:1", Weight: 65535, Identity: identity("asked", "dc1")}, ""},
		{"a negative port", `{` + node + `, "Service": {"ID": "w", "Port": -1}}`, own, upstream.Endpoint{}, `instance "w" on node "n" with the port -1, which is none`},
		{"a huge port", `{` + node + `, "Service": {"ID": "w", "Port": 65536}}`, own, upstream.Endpoint{}, `instance "w" on node "n" with the port 65536, which is none`},
		{"a URL for an address", `{` + node + `, "Service": {"ID": "w", "Port": 1, "Address": "http://db.example"}}`, own, upstream.Endpoint{},
			`instance "w" on node "n" with the address "http://db.example", which is none that can be dialled`},
		{"a port in the address", `{` + node + `, "Service": {"ID": "w", "Port": 1, "Address": "192.0.2.1:80"}}`, own, upstream.Endpoint{},
			`instance "w" on node "n" with the address "192.0.2.1:80", which is none that can be dialled`},
		{"every address", `{` + node + `, "Service": {"ID": "w", "Port": 1, "Address": "0.0.0.0"}}`, own, upstream.Endpoint{},
			`instance "w" on node "n" with the address "0.0.0.0", which is none that can be dialled`},
		{"a link-local address with its zone", `{` + node + `, "Service": {"ID": "w", "Port": 1, "Address": "fe80::1%eth0"}}`, own,
			upstream.Endpoint{ID: "n/w", Address: "[fe80::1%eth0]:1", Weight: 1, Identity: identity("asked", "dc1")}, ""},
		{"no port", `{` + node + `, "Service": {"ID": "w"}}`, own, upstream.Endpoint{}, "an instance without an address or a port"},
		{"no address", `{"Node": {"Node": "n"}, "Service": {"ID": "w", "Port": 1}}`, own, upstream.Endpoint{}, "an instance without an address or a port"},
		{"a peer cluster's instance",
			`{` + node + `, "Service": {"ID": "w", "Port": 1, "PeerName": "other"}}`, own, upstream.Endpoint{}, "instances of a peer cluster need a mesh gateway"},
		{"no service", `{` + node + `}`, own, upstream.Endpoint{}, "an entry without a node or a service"},
		{"nothing", `null`, own, upstream.Endpoint{}, "an entry without a node or a service"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e *api.ServiceEntry
			if err := json.Unmarshal([]byte(c.entry), &e); err != nil {
				t.Fatal(err)
			}
			got, problem := answerScope{service: "asked", datacenter: "answered", remote: c.remote}.locate(e)
			if got.Endpoint != c.want || problem != c.problem {
				t.Errorf("got %+v, %q\nwant %+v, %q", got.Endpoint, problem, c.want, c.problem)
			}
		})
	}
}

func TestAShuffledAnswerIsNoChange(t *testing.T) {
	e := entries(t, "1.5.3-health")
	before, _ := setOf(e, answerScope{remote: own}, false)
	e[0], e[2] = e[2], e[0]
	after, _ := setOf(e, answerScope{remote: own}, false)
	if !before.Equal(after) {
		t.Errorf("before %v\nafter  %v", before, after)
	}
	// On one node no distance tells instances apart, so even a sorted answer
	// comes shuffled there.
	before, _ = setOf(e, answerScope{remote: own}, true)
	e[0], e[1] = e[1], e[0]
	after, _ = setOf(e, answerScope{remote: own}, true)
	if !before.Equal(after) || !after.Ordered {
		t.Errorf("ordered: before %v\nafter  %v", before, after)
	}
}

func TestInstancesThatCannotBeDialledAreAFewWordsInTheLog(t *testing.T) {
	var log bytes.Buffer
	skipped := skipLogger{logger: hclog.New(&hclog.LoggerOptions{Output: &log}), service: "db"}
	var problems []string
	for i := range 1000 {
		problems = append(problems, fmt.Sprintf("instance %d", i))
	}
	for range 3 {
		skipped.log(problems)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || log.Len() > 400 || !strings.Contains(log.String(), "and 996 more reasons") {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
