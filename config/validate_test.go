package config

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// good is a configuration with one of everything.
func good() Config {
	return Config{
		Mode:    File,
		Service: "web",
		Public: &Public{
			Bind:  Address{Port: 21000},
			Local: Address{Host: "127.0.0.1", Port: 8080},
		},
		Upstreams: []Upstream{
			{Destination: Destination{Name: "db"}, Bind: Address{Port: 9191}},
			{Destination: Destination{Name: "near", Type: PreparedQuery}, Bind: Address{Path: "/run/near.sock", Mode: 0o600}},
		},
	}
}

func TestValidateNamesTheMistake(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Config)
		want  []string // as many mistakes, each with the beginning given
	}{
		{"nothing wrong", func(*Config) {}, nil},
		{"no service", func(c *Config) { c.Service = "" }, []string{"service_name: missing"}},
		{"nothing to run", func(c *Config) { c.Public, c.Upstreams = nil, nil }, []string{"nothing to run"}},
		{"only upstreams", func(c *Config) { c.Public = nil }, nil},
		{"only a public listener", func(c *Config) { c.Upstreams = nil }, nil},
		{"no public port", func(c *Config) { c.Public.Bind = Address{} }, []string{"public_listener.bind_port: missing"}},
		{"a public port below the range", func(c *Config) { c.Public.Bind.Port = -1 }, []string{"public_listener.bind_port: -1: not a port"}},
		{"a public port above the range", func(c *Config) { c.Public.Bind.Port = 65536 }, []string{"public_listener.bind_port: 65536: not a port"}},
		{"a host that is none", func(c *Config) { c.Public.Bind.Host = "a b" }, []string{`public_listener.bind_address: "a b": not a host`}},
		{"a path and a port", func(c *Config) { c.Public.Bind.Path = "/p" }, []string{`public_listener.bind_socket_path: "/p": given together`}},
		{"a mode without a path", func(c *Config) { c.Public.Bind.Mode = 0o600 }, []string{"public_listener.bind_socket_mode: 0600: only a socket"}},
		{"a mode that is too wide", func(c *Config) { c.Upstreams[1].Bind.Mode = 0o4755 }, []string{"upstreams[1].local_bind_socket_mode: 04755: use permissions"}},
		{"a path that is too long", func(c *Config) { c.Upstreams[1].Bind.Path = strings.Repeat("/long", 22) }, []string{`upstreams[1].local_bind_socket_path: "/long`}},
		{"no application", func(c *Config) { c.Public.Local = Address{} }, []string{"public_listener.local_service_address: missing"}},
		{"a registered service without a port", func(c *Config) { c.Mode, c.Public.Local.Port = Registered, 0 }, nil},
		{"an application's port out of range", func(c *Config) { c.Public.Local.Port = 80808 }, []string{"public_listener.local_service_address: 80808: not a port"}},
		{"an application's host that is none", func(c *Config) { c.Public.Local.Host = "10.0.0.256" }, []string{`public_listener.local_service_address: "10.0.0.256": not a host`}},
		{"an application with a path and a port", func(c *Config) { c.Public.Local.Path = "/app" }, []string{`public_listener.local_service_address: "/app": a socket and a port`}},
		{"a TLS version of old", func(c *Config) { c.Public.MinTLS = tls.VersionTLS11 }, []string{"public_listener.tls_min_version: TLS 1.1: use TLSv1_2"}},
		{"an empty protocol", func(c *Config) { c.Public.ALPN = []string{"h2", ""} }, []string{`public_listener.alpn: "": not a protocol`}},
		{"negative durations", func(c *Config) {
			c.MaxStaleAuthorization, c.MaxStaleEndpoints, c.DrainTimeout = -1, -2, -3
			c.Public.LocalConnectTimeout, c.Public.HandshakeTimeout = -4, -5
			c.Public.Limits = Limits{-6, -7, -8}
			c.Upstreams[0].ConnectTimeout, c.Upstreams[0].PassiveHealth.BaseEjectionTime = -9, -10
			c.Upstreams[1].Limits = Limits{-11, -12, -13}
		}, []string{
			"max_stale_authorization: -1ns: negative", "max_stale_endpoints: -2ns: negative", "drain_timeout: -3ns: negative",
			"public_listener.local_connect_timeout_ms: -4ns: ", "public_listener.handshake_timeout_ms: -5ns: ",
			"public_listener.idle_timeout: -6ns: ", "public_listener.max_lifetime: -7ns: ", "public_listener.half_close_timeout: -8ns: ",
			"upstreams[0].connect_timeout_ms: -9ns: ", "upstreams[0].passive_health_check.base_ejection_time: -10ns: ",
			"upstreams[1].idle_timeout: -11ns: ", "upstreams[1].max_lifetime: -12ns: ", "upstreams[1].half_close_timeout: -13ns: ",
		}},
		{"negative numbers", func(c *Config) {
			c.Public.MaxConnections, c.Upstreams[0].MaxConnections, c.Upstreams[1].PassiveHealth.MaxFailures = -1, -2, -3
		}, []string{
			"public_listener.max_inbound_connections: -1: ", "upstreams[0].limits.max_connections: -2: ", "upstreams[1].passive_health_check.max_failures: -3: ",
		}},
		{"an upstream without a name", func(c *Config) { c.Upstreams[0].Destination.Name = "" }, []string{"upstreams[0].destination_name: missing"}},
		{"an unknown destination type", func(c *Config) { c.Upstreams[0].Destination.Type = "peer" }, []string{`upstreams[0].destination_type: "peer": use`}},
		{"an unknown balance", func(c *Config) { c.Upstreams[0].Balance = "sticky" }, []string{`upstreams[0].balance: "sticky": use`}},
		{"an unknown gateway mode", func(c *Config) { c.Upstreams[0].MeshGateway = "far" }, []string{`upstreams[0].mesh_gateway.mode: "far": use`}},
		{"an upstream without an address", func(c *Config) { c.Upstreams[0].Bind = Address{} }, []string{"upstreams[0].local_bind_port: missing"}},
		{"two upstreams on one address", func(c *Config) { c.Upstreams[1].Bind = Address{Port: 9191} },
			[]string{"upstreams[1].local_bind_port: 127.0.0.1:9191: already taken by upstreams[0].local_bind_port"}},
		{"an upstream under the public wildcard", func(c *Config) { c.Upstreams[0].Bind.Port = 21000 },
			[]string{"upstreams[0].local_bind_port: 127.0.0.1:21000: already taken by public_listener.bind_port"}},
		{"an upstream where the application is", func(c *Config) { c.Upstreams[0].Bind.Port = 8080 },
			[]string{"upstreams[0].local_bind_port: 127.0.0.1:8080: already taken by public_listener.local_service_address"}},
		{"two listeners on one socket", func(c *Config) { c.Public.Bind = Address{Path: "/run/./near.sock"} },
			[]string{"upstreams[1].local_bind_socket_path: /run/near.sock: already taken by public_listener.bind_socket_path"}},
		{"a public listener that dials itself", func(c *Config) { c.Public.Local.Port = 21000 },
			[]string{"public_listener.local_service_address: 127.0.0.1:21000: the address of the public listener itself"}},
		{"an application of another machine on the same port", func(c *Config) { c.Public.Local = Address{Host: "10.0.0.9", Port: 21000} }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good()
			c.spoil(&cfg)
			got := cfg.WithDefaults().Validate()
			if len(got) != len(c.want) {
				t.Fatalf("%d mistakes, want %d: %q", len(got), len(c.want), got)
			}
			for i, m := range got {
				if !strings.HasPrefix(m.String(), c.want[i]) {
					t.Errorf("mistake %d is %q, want %q…", i, m, c.want[i])
				}
			}
		})
	}
}

func TestAddressesOverlapWhereOneIncludesTheOther(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"127.0.0.1:1", "127.0.0.2:1", false},
		{":1", "127.0.0.2:1", true},
		{":1", "[::1]:1", true},
		{"0.0.0.0:1", "127.0.0.2:1", true},
		{"0.0.0.0:1", "[::1]:1", false},
		{"0.0.0.0:1", "[::]:1", true},
		{"[::]:1", "127.0.0.2:1", true},
		{"[::]:1", "[fd00::7]:1", true},
		{"[::ffff:127.0.0.2]:1", "127.0.0.2:1", true},
		{"[0:0::1]:1", "[::1]:1", true},
		{"localhost:1", "127.0.0.1:1", true},
		{"localhost:1", "[::1]:1", true},
		{"localhost:1", "127.0.0.2:1", false},
		{"LocalHost:1", "localhost:1", true},
		{"db.example.com:1", "DB.example.com:1", true},
		{"db.example.com:1", "127.0.0.1:1", false},
		{"0.0.0.0:1", "db.example.com:1", true},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/x/../a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", ":1", false},
	} {
		a, err := ParseAddress(c.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseAddress(c.b)
		if err != nil {
			t.Fatal(err)
		}
		if a.Overlaps(b) != c.want || b.Overlaps(a) != c.want {
			t.Errorf("%s and %s: %t and the other way round %t, want %t", c.a, c.b, a.Overlaps(b), b.Overlaps(a), c.want)
		}
	}
}

func TestNamesForPeopleAndForDialling(t *testing.T) {
	for want, d := range map[string]Destination{
		"db":                         {Type: Service, Name: "db"},
		"near.query":                 {Type: PreparedQuery, Name: "near"},
		"db.ns.data.ap.north.dc.dc2": {Type: Service, Name: "db", Namespace: "data", Partition: "north", Datacenter: "dc2"},
	} {
		if got := d.String(); got != want {
			t.Errorf("destination %s, want %s", got, want)
		}
	}
	for want, a := range map[string]Address{
		"tcp [::1]:80":   {Host: "::1", Port: 80},
		"tcp :80":        {Port: 80},
		"unix /run/sock": {Path: "/run/sock", Mode: 0o600},
	} {
		if got := a.Network() + " " + a.String(); got != want {
			t.Errorf("address %s, want %s", got, want)
		}
	}
}

func TestDefaultsFillInWhatWasLeftOut(t *testing.T) {
	c := good()
	c.Upstreams[0].Destination.Namespace, c.Upstreams[0].Destination.Partition = "default", "north"
	before := good()
	before.Upstreams[0].Destination = c.Upstreams[0].Destination

	got := c.WithDefaults()
	if diff := cmp.Diff(before, c); diff != "" {
		t.Errorf("the receiver was altered (-before +after):\n%s", diff)
	}
	limits := Limits{HalfCloseTimeout: 5 * time.Minute}
	want := Config{
		Mode:    File,
		Service: "web",
		Public: &Public{
			Bind:                Address{Port: 21000},
			Local:               Address{Host: "127.0.0.1", Port: 8080},
			LocalConnectTimeout: 5 * time.Second,
			HandshakeTimeout:    10 * time.Second,
			MinTLS:              tls.VersionTLS12,
			Limits:              limits,
		},
		Upstreams: []Upstream{{
			Destination:   Destination{Type: Service, Name: "db", Partition: "north"},
			Bind:          Address{Host: "127.0.0.1", Port: 9191},
			Balance:       LeastConnections,
			PassiveHealth: PassiveHealth{MaxFailures: 1, BaseEjectionTime: time.Second},
			Limits:        limits,
		}, {
			Destination:   Destination{Type: PreparedQuery, Name: "near"},
			Bind:          Address{Path: "/run/near.sock", Mode: 0o600},
			PassiveHealth: PassiveHealth{MaxFailures: 1, BaseEjectionTime: time.Second},
			Limits:        limits,
		}},
		MaxStaleAuthorization: 10 * time.Minute,
		DrainTimeout:          30 * time.Second,
		AccessLog:             AccessLog{Connections: AccessLogOff, Type: AccessLogStdout},
		TLS:                   TLS{Records: OwnRecords, KeyExchange: ClassicKeyExchange},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, got.WithDefaults()); diff != "" {
		t.Errorf("defaults of defaults differ:\n%s", diff)
	}
	c.Mode = Managed
	if d := c.WithDefaults().DrainTimeout; d != 4*time.Second {
		t.Errorf("a managed proxy drains for %s, want less than the agent's 5 s", d)
	}
}
