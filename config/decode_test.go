package config

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	web1 = Config{
		Mode: Registered, ProxyID: "web-1-sidecar-proxy", Service: "web", ServiceID: "web-1",
		Public: &Public{
			Bind:                Address{Host: "0.0.0.0", Port: 21001},
			Local:               Address{Host: "127.0.0.1", Port: 8080},
			LocalConnectTimeout: 1500 * time.Millisecond,
			HandshakeTimeout:    4 * time.Second,
			MaxConnections:      250,
		},
		Upstreams: []Upstream{{
			Destination:    Destination{Name: "db"},
			Bind:           Address{Port: 9191},
			ConnectTimeout: 2500 * time.Millisecond,
			MaxConnections: 7,
			PassiveHealth:  PassiveHealth{Given: true, MaxFailures: 3, BaseEjectionTime: 30 * time.Second},
			MeshGateway:    "none",
		}, {
			Destination: Destination{Name: "nearest-cache", Type: PreparedQuery, Datacenter: "dc1"},
			Bind:        Address{Host: "::1", Port: 9292},
			MeshGateway: "local",
		}, {
			Destination: Destination{Name: "queue"},
			Bind:        Address{Path: "/run/web/queue.sock", Mode: 0o660},
			MeshGateway: "none",
		}},
		Warnings: []string{
			"envoy_public_listener_json is ignored: this proxy is not Envoy",
			"proxy.config.local_idle_timeout_ms is ignored: it bounds HTTP streams, and would cut TCP connections at rest: to bound these, set idle_timeout",
			"proxy.upstreams[0].config.limits.max_pending_requests is ignored: connections do not queue here: set limits.max_connections",
		},
	}
	managedWeb = Config{
		Telemetry: Telemetry{BuiltIn: BuiltInTelemetry{
			StatsdAddress: "127.0.0.1:8125", DogstatsdTags: []string{"team:shop"}, Prefix: "site.proxy.web-1",
			FilterDefault: true, BlockedPrefixes: []string{"consul.raft"},
		}},
		Mode: Managed, ProxyID: "web-1-proxy", Service: "web", ServiceID: "web-1",
		Public: &Public{
			Bind:                Address{Host: "127.0.0.1", Port: 24411},
			Local:               Address{Host: "127.0.0.1", Port: 8080},
			LocalConnectTimeout: 1500 * time.Millisecond,
			HandshakeTimeout:    4 * time.Second,
			Limits:              Limits{IdleTimeout: 45 * time.Second},
		},
		Upstreams: []Upstream{{
			Destination:    Destination{Name: "db"},
			Bind:           Address{Port: 24412},
			ConnectTimeout: 3 * time.Second,
		}, {
			Destination: Destination{Name: "nearest-db", Type: PreparedQuery, Datacenter: "dc1"},
			Bind:        Address{Host: "127.0.0.2", Port: 24413},
		}},
	}
)

func TestAnAgentsAnswerBecomesAConfiguration(t *testing.T) {
	dials := func(proxy, service string, public Public, upstreams ...Upstream) Config {
		return Config{Mode: Registered, ProxyID: proxy, Service: service, ServiceID: service, Public: &public, Upstreams: upstreams}
	}
	shop := dials("shop-sidecar-proxy", "shop", Public{
		Bind: Address{Port: 21002}, Local: Address{Port: 8082},
		LocalConnectTimeout: 2200 * time.Millisecond, MaxConnections: 64,
	}, Upstream{
		Destination: Destination{Name: "db"}, Bind: Address{Port: 9393},
		ConnectTimeout: 4400 * time.Millisecond, MaxConnections: 5,
		PassiveHealth: PassiveHealth{Given: true, MaxFailures: 2, BaseEjectionTime: 30 * time.Second},
		MeshGateway:   "local",
	})
	shop.Warnings = []string{
		`protocol "http" is treated as tcp: what passes is not looked into`,
		"expose is ignored: a TCP proxy opens no HTTP paths, so checks must reach the application itself",
	}
	cron := dials("cron-sidecar-proxy", "cron", Public{
		Bind: Address{Port: 21005}, LocalConnectTimeout: 1200 * time.Millisecond,
	}, Upstream{Destination: Destination{Name: "db"}, Bind: Address{Port: 9595}, MeshGateway: "none"})
	cron.Warnings = []string{`service "cron" has no port: connections from other services are refused, its upstreams work`}
	sock := dials("sock-proxy", "sock", Public{
		Bind: Address{Path: "/run/sock/public.sock"}, Local: Address{Path: "/run/sock/app.sock"},
		LocalConnectTimeout: 1200 * time.Millisecond,
	})
	twinA := dials("twin-a", "twin", Public{
		Bind: Address{Host: "fd00::7", Port: 21010}, Local: Address{Host: "::1", Port: 8086},
		LocalConnectTimeout: 1200 * time.Millisecond,
	})
	twinB := dials("twin-b", "twin", Public{
		Bind: Address{Port: 21011}, Local: Address{Host: "127.0.0.1", Port: 8086},
		LocalConnectTimeout: 1200 * time.Millisecond,
	})
	twinA.ServiceID, twinB.ServiceID = "Twin-1", "Twin-1"
	adopted := managedWeb
	adopted.Mode = Registered

	for _, c := range []struct {
		name, file string
		managed    bool
		want       Config
	}{
		{"a sidecar with every kind of upstream", "service-web-1-sidecar-proxy.json", false, web1},
		{"settings merged from central configuration", "service-shop-sidecar-proxy.json", false, shop},
		{"a service that only dials", "service-cron-sidecar-proxy.json", false, cron},
		{"unix sockets on both sides", "service-sock-proxy.json", false, sock},
		{"an IPv6 address", "service-twin-a.json", false, twinA},
		{"a host name is not bound", "service-twin-b.json", false, twinB},
		{"a managed proxy by its own endpoint", "connect-proxy-web-1.json", true, managedWeb},
		{"a managed proxy by the other endpoint", "service-managed-web-1.json", false, adopted},
		{"a managed proxy of Consul 1.2", "connect-proxy-web-1-consul-1.2.json", true, managedWeb},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, mistakes := readRecording(t, c.file, c.managed, nil)
			if len(mistakes) > 0 {
				t.Fatal(mistakes)
			}
			want := c.want.WithDefaults()
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// readRecording decodes a recorded answer, after a change of its text.
func readRecording(t *testing.T, file string, managed bool, change *strings.Replacer) (*Config, []Mistake) {
	t.Helper()
	body := recording(t, file).body
	if change != nil {
		changed := change.Replace(body)
		if changed == body {
			t.Fatalf("the change changes nothing in %s", file)
		}
		body = changed
	}
	a := NewAgent(AgentOptions{ProxyID: "p", Managed: managed})
	return a.read(agentAnswer{id: "p", managed: managed, body: body})
}

func TestTimeoutsFromAnAgentMayBeNumbersOrTexts(t *testing.T) {
	for _, spelling := range []string{`4000`, `4000.0`, `4e3`, `"4000"`, `"4000.0"`} {
		got, mistakes := readRecording(t, "connect-proxy-web-1.json", true, strings.NewReplacer(
			`"handshake_timeout_ms": 4000`, `"HandshakeTimeoutMs": `+spelling,
			`"local_connect_timeout_ms": "1500"`, `"local_connect_timeout_ms": `+spelling,
			`"connect_timeout_ms": 3000`, `"connect_timeout_ms": `+spelling))
		if len(mistakes) > 0 {
			t.Errorf("%s: %v", spelling, mistakes)
			continue
		}
		if p := got.Public; p.HandshakeTimeout != 4*time.Second || p.LocalConnectTimeout != 4*time.Second || got.Upstreams[0].ConnectTimeout != 4*time.Second {
			t.Errorf("%s: handshake %s, local connect %s, connect %s", spelling, p.HandshakeTimeout, p.LocalConnectTimeout, got.Upstreams[0].ConnectTimeout)
		}
	}
}

func TestMistakesInARegistrationAreNamedAsItHasThem(t *testing.T) {
	for _, c := range []struct {
		name, file string
		managed    bool
		change     *strings.Replacer
		want       []string
	}{
		{"a service is no proxy", "service-not-a-proxy.json", false, nil, []string{
			`kind: "service": "p" is not a connect-proxy: give the ID of one with -proxy-id, or with -sidecar-for the ID of the service that it is for`,
		}},
		{"a destination in a peering", "service-transparent-peer.json", false, nil, []string{
			`proxy.upstreams[0].destination_peer: "west": destinations in a cluster peering`,
		}},
		{"values that are not understood", "service-web-1-sidecar-proxy.json", false, strings.NewReplacer(
			`"21001"`, `"https"`, `: 4000,`, `: 4000, "tls_min_version": {"secret-token": 1},`, `"0660"`, `"rw-rw----"`),
			[]string{
				`proxy.config.bind_port: "https": not a whole number`,
				`proxy.config.tls_min_version: a block: not a TLS version`,
				`proxy.upstreams[2].local_bind_socket_mode: "rw-rw----": not the permissions`,
			}},
		{"ports out of range", "service-shop-sidecar-proxy.json", false, strings.NewReplacer(
			`"Port": 21002`, `"Port": 210020`, `8082,`, `-1,`, `9393`, `70000`), []string{
			`port: 210020: not a port`,
			`proxy.local_service_port: -1: not a port`,
			`proxy.upstreams[0].local_bind_port: 70000: not a port`,
		}},
		{"an opaque port out of range", "service-web-1-sidecar-proxy.json", false, strings.NewReplacer(`"21001"`, `-5`), []string{
			`proxy.config.bind_port: -5: not a port`,
		}},
		{"ports that collide", "connect-proxy-web-1.json", true, strings.NewReplacer("24412", "24411", `"prepared_query"`, `"query"`), []string{
			`connect.proxy.upstreams[0].local_bind_port: 127.0.0.1:24411: already taken by connect.proxy.config.bind_port`,
			`connect.proxy.upstreams[1].destination_type: "query": use`,
		}},
		{"no port anywhere", "service-web-1-sidecar-proxy.json", false, strings.NewReplacer(`"21001"`, `""`, "21000", "0"), []string{
			"proxy.config.bind_port: missing",
		}},
		{"a required extension", "service-web-1-sidecar-proxy.json", false, strings.NewReplacer(`"Expose": {}`,
			`"EnvoyExtensions": [{"Name": "builtin/lua", "Required": false}, {"Name": "builtin/wasm", "Required": true}]`), []string{
			`proxy.envoy_extensions: "builtin/wasm": a required extension of Envoy`,
		}},
		{"upstreams that are no blocks", "connect-proxy-web-1-consul-1.2.json", true, strings.NewReplacer(`"upstreams": [`, `"upstreams": ["db:8181",`), []string{
			`connect.proxy.config.upstreams: "db:8181": not a block`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, mistakes := readRecording(t, c.file, c.managed, c.change)
			var got []string
			for _, m := range mistakes {
				got = append(got, m.String())
			}
			if all := strings.Join(got, "\n"); strings.Contains(all, "secret-token") {
				t.Errorf("what is inside a block was shown: %s", all)
			}
			for _, want := range c.want {
				if !strings.Contains("\n"+strings.Join(got, "\n"), "\n"+want) {
					t.Errorf("no mistake %s… in\n%s", want, strings.Join(got, "\n"))
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%d mistakes, want %d:\n%s", len(got), len(c.want), strings.Join(got, "\n"))
			}
		})
	}
}

func TestSettingsThatATCPProxyCannotHonourAreWarnedOf(t *testing.T) {
	got, mistakes := readRecording(t, "service-transparent-peer.json", false, strings.NewReplacer(
		`"DestinationPeer": "west",`, `"Config": {"protocol": "grpc", "envoy_cluster_json": "{}"},`,
		`"Expose": {}`, `"Expose": {"Paths": [{"Path": "/x"}]}, "EnvoyExtensions": [{"Name": "builtin/lua"}]`,
		`"local_connect_timeout_ms": 1200`, `"local_connect_timeout_ms": 1200, "Protocol": "tcp", "envoy_dogstatsd_url": "x", "unheard_of": [1]`))
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	want := []string{
		"proxy.config.unheard_of is ignored, since nobody knows this key",
		"expose is ignored: a TCP proxy opens no HTTP paths, so checks must reach the application itself",
		"mode transparent is ignored: the application reaches its upstreams by their local addresses only",
		`upstream "db": envoy_cluster_json is ignored: this proxy is not Envoy`,
		`upstream "db": protocol "grpc" is treated as tcp: what passes is not looked into`,
	}
	if diff := cmp.Diff(want, got.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	open := []string{`Envoy extension "builtin/lua" is ignored, and it may decide who may pass: this proxy is not Envoy`}
	if diff := cmp.Diff(open, got.SecurityWarnings); diff != "" {
		t.Errorf("warnings about security (-want +got):\n%s", diff)
	}
	if len(got.Upstreams) != 1 {
		t.Errorf("upstreams %+v, want only the one with an address", got.Upstreams)
	}
}

func TestWhatIsOursIsReadFromTheOpaqueSettings(t *testing.T) {
	got, mistakes := readRecording(t, "connect-proxy-web-1.json", true, strings.NewReplacer(
		`"handshake_timeout_ms": 4000`, `"tls_min_version": "TLSv1_3", "local_proxy_protocol": "v2", "alpn": ["h2"], "drain_timeout": "20s", "max_stale_endpoints": "1h", "max_stale_authorization": "3m", "half_close_timeout": "7s", "tls_records": "crypto/tls", "tls_key_exchange": "hybrid"`,
		`"connect_timeout_ms": 3000`, `"balance": "random", "max_lifetime": "2h", "mesh_gateway": {"mode": "remote"}, "limits": [{"max_connections": 5}]`))
	if len(mistakes) > 0 {
		t.Fatal(mistakes)
	}
	want := managedWeb.WithDefaults()
	want.Public.HandshakeTimeout = DefaultHandshakeTimeout
	want.Public.LocalProxyProtocol = ProxyProtocolV2
	want.Public.MinTLS, want.Public.ALPN, want.Public.HalfCloseTimeout = tls.VersionTLS13, []string{"h2"}, 7*time.Second
	want.TLS = TLS{Records: CryptoTLSRecords, KeyExchange: HybridKeyExchange}
	want.DrainTimeout, want.MaxStaleEndpoints, want.MaxStaleAuthorization = 20*time.Second, time.Hour, 3*time.Minute
	db := &want.Upstreams[0]
	db.ConnectTimeout, db.Balance, db.MaxLifetime, db.MeshGateway, db.MaxConnections = 0, Random, 2*time.Hour, "remote", 5
	want.Warnings = []string{"drain_timeout 20s is longer than the 5s after which the agent kills a managed proxy"}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
