package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
)

func TestConsulsOwnRecordHasEnvoysFieldsAndOurs(t *testing.T) {
	got := record(t, config.AccessLog{Connections: config.AccessLogAll, Enabled: true}, public, inbound())
	var r map[string]any
	if err := json.Unmarshal([]byte(got), &r); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	for name, want := range map[string]any{
		"start_time": "2026-11-28T07:08:09.123Z", "method": "-", "route_name": "-", "response_flags": "-",
		"bytes_received": "11", "bytes_sent": "22", "duration": "2500",
		"upstream_host": "127.0.0.1:5432", "upstream_cluster": "local_app",
		"downstream_local_address": "10.0.0.9:20000", "downstream_remote_address": "10.0.0.7:4711",
		"requested_server_name": "db.default.dc1", "upstream_transport_failure_reason": "-",
		"reason": "closed", "peer": "spiffe://11111111.consul/ns/shop/dc/dc1/svc/web", "id": 7.0,
	} {
		if r[name] != want {
			t.Errorf("%s is %v, want %v", name, r[name], want)
		}
	}
	envoy := 0
	for _, name := range []string{
		"start_time", "route_name", "method", "path", "protocol", "response_code", "response_flags",
		"response_code_details", "connection_termination_details", "bytes_received", "bytes_sent", "duration",
		"upstream_service_time", "x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host",
		"upstream_cluster", "upstream_local_address", "downstream_local_address", "downstream_remote_address",
		"requested_server_name", "upstream_transport_failure_reason",
	} {
		if _, ok := r[name].(string); ok {
			envoy++
		}
	}
	if envoy != 24 {
		t.Errorf("%d of Envoy's 24 fields are there", envoy)
	}
}

func TestEnvoysOperatorsAreWhatTheySay(t *testing.T) {
	t.Setenv("ACCESS_LOG_REGION", "north")
	t.Setenv("ACCESS_LOG_TOKEN", "secret")
	failed := denied()
	failed.Reason, failed.Err = listener.ReasonDialTimeout, errors.New("no answer")
	failed.Instance = listener.Instance{ID: "n/db-1", Address: "[2001:db8::5]:20000", Attempts: 3}
	upstream := ListenerInfo{Direction: Outbound, Service: "web", Destination: "db.dc.dc2"}
	for format, want := range map[string][2]string{ // a denied inbound, a failed outbound
		"%CONNECTION_ID%":                          {"8", "8"},
		"%DURATION%ms":                             {"2500ms", "2500ms"},
		"%BYTES_RECEIVED%/%BYTES_SENT%":            {"0/0", "0/0"},
		"%RESPONSE_FLAGS%":                         {"-", "UF,URX"},
		"%CONNECTION_TERMINATION_DETAILS%":         {"rbac_access_denied_matched_policy[Matched L4 intention]", "-"},
		"%UPSTREAM_TRANSPORT_FAILURE_REASON%":      {"-", "no answer"},
		"%UPSTREAM_HOST%":                          {"-", "[2001:db8::5]:20000"},
		"%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%":   {"-", "2001:db8::5"},
		"%UPSTREAM_REMOTE_PORT%":                   {"-", "20000"},
		"%UPSTREAM_CLUSTER%":                       {"local_app", "db.dc.dc2"},
		"%UPSTREAM_REQUEST_ATTEMPT_COUNT%":         {"0", "3"},
		"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": {"10.0.0.7", "10.0.0.7"},
		"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%":       {"10.0.0.7:4711", "10.0.0.7:4711"},
		"%DOWNSTREAM_LOCAL_PORT%":                  {"20000", "20000"},
		"%DOWNSTREAM_PEER_URI_SAN%":                {"spiffe://11111111.consul/ns/shop/dc/dc1/svc/web", "-"},
		"%UPSTREAM_PEER_URI_SAN%":                  {"-", "spiffe://11111111.consul/ns/shop/dc/dc1/svc/web"},
		"%DOWNSTREAM_TLS_VERSION%":                 {"TLSv1.3", "-"},
		"%UPSTREAM_TLS_CIPHER%":                    {"-", "TLS_AES_128_GCM_SHA256"},
		"%DOWNSTREAM_PEER_SERIAL%":                 {"0a0b", "-"},
		"%REQUESTED_SERVER_NAME:4%":                {"db.d", "db.d"},
		"%FILTER_CHAIN_NAME%":                      {"public", "public"},
		"%CONNECT_REASON%":                         {"denied", "dial_timeout"},
		"%CONNECT_PEER_SERVICE%":                   {"shop/web", "shop/web"},
		"%CONNECT_INTENTION%":                      {"Matched L4 intention", "-"},
		"%START_TIME%":                             {"2026-11-28T07:08:09.123Z", "2026-11-28T07:08:09.123Z"},
		"%START_TIME(%d/%b/%Y %H:%M:%S.%6f %s)%":   {"28/Nov/2026 07:08:09.123456 1795849689", "28/Nov/2026 07:08:09.123456 1795849689"},
		"%ENVIRONMENT(ACCESS_LOG_REGION)%":         {"north", "north"},
		"100%% %CONNECT_REASON%":                   {"100% denied", "100% dial_timeout"},
		"%REQ(:METHOD)% %ROUTE_NAME%":              {"- -", "- -"},
		"%ENVIRONMENT(ACCESS_LOG_TOKEN)%":          {"-", "-"}, // nobody is told a secret
		"%NEW_IN_ENVOY(a%b)%":                      {"-", "-"},
	} {
		c := config.AccessLog{Connections: config.AccessLogAll, TextFormat: format}
		if got := record(t, c, public, denied()); got != want[0]+"\n" {
			t.Errorf("%s of a denied connection is %q, want %q", format, got, want[0])
		}
		if got := record(t, c, upstream, failed); got != want[1]+"\n" {
			t.Errorf("%s of one that failed is %q, want %q", format, got, want[1])
		}
	}
}

func TestWhatAFormatAsksForInVainIsNamed(t *testing.T) {
	l := New(Options{})
	defer l.Close(0)
	warnings, err := l.Update(config.AccessLog{TextFormat: "%REQ(:METHOD)% %DURATION% %UPSTREAM_WIRE_BYTES_SENT%"})
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "%REQ%") || !strings.Contains(warnings[1], "%UPSTREAM_WIRE_BYTES_SENT%") {
		t.Errorf("%q, %v", warnings, err)
	}
}

func TestAFormatThatCannotBeReadLeavesTheFormerInForce(t *testing.T) {
	for _, c := range []config.AccessLog{
		{TextFormat: "50% of %DURATION%"}, {TextFormat: "%DURATION"}, {TextFormat: "%"},
		{TextFormat: "%DURATION:x%"}, {TextFormat: "%START_TIME(%Y%"},
		{JSONFormat: `{"a": "%"}`}, {JSONFormat: `["%DURATION%"]`}, {JSONFormat: `{"a": "b"} more`}, {JSONFormat: `{"a"`},
	} {
		l := New(Options{})
		if _, err := l.Update(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
		if l.format != nil {
			t.Errorf("%+v is in force", c)
		}
		l.Close(0)
	}
}

func TestNobodyCanAddAWordToARecordInText(t *testing.T) {
	c := config.AccessLog{Connections: config.AccessLogAll, TextFormat: "%REQUESTED_SERVER_NAME% %CONNECT_PEER_SERVICE% %CONNECT_REASON%"}
	for _, text := range []string{"db closed", "db\u00a0closed", "db\u3000closed", "db\tclosed", "db%20closed"} {
		s := denied()
		s.ServerName, s.Peer = text, "spiffe://td/ns/default/dc/dc1/svc/"+text
		if got := record(t, c, public, s); len(strings.Fields(got)) != 3 || !strings.HasSuffix(got, " denied\n") {
			t.Errorf("%q made %q", text, got)
		}
	}
}

// Whoever may write proxy-defaults should not keep every proxy busy by that.
func TestAFormatIsBounded(t *testing.T) {
	list := strings.Repeat(",1", 500_000)
	for _, c := range []config.AccessLog{
		{TextFormat: strings.Repeat("%REQUESTED_SERVER_NAME%", 50_000)}, {TextFormat: strings.Repeat("%%", 500_000)},
		{JSONFormat: `{"a": [1` + list + `]}`}, {JSONFormat: `{"a": ` + strings.Repeat("[", 500_000)},
	} {
		l := New(Options{})
		began := time.Now()
		if _, err := l.Update(c); err == nil || !strings.Contains(err.Error(), "longer than") || len(err.Error()) > 1000 {
			t.Errorf("%.20q: %.1000v", c.TextFormat+c.JSONFormat, err)
		}
		if took := time.Since(began); took > 5*time.Second { // a loaded machine
			t.Errorf("%.20q took %s", c.TextFormat+c.JSONFormat, took)
		}
		l.Close(0)
	}
}

func TestAJSONFormatKeepsItsShapeAndOrder(t *testing.T) {
	c := config.AccessLog{Connections: config.AccessLogAll, JSONFormat: `
		{"z": "%CONNECT_REASON% \"now\"", "a": {"list": ["%DURATION%", 1.50, true, null, {}]}, "n\n": 12345678901234567890}`}
	got := record(t, c, public, denied())
	want := `{"z":"denied \"now\"","a":{"list":["2500",1.50,true,null,{}]},"n\n":12345678901234567890}` + "\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestAServiceIsReadOffItsSPIFFEID(t *testing.T) {
	for id, want := range map[string]string{
		"spiffe://td/ns/default/dc/dc1/svc/web":         "web",
		"spiffe://td/ns/shop/dc/dc1/svc/web":            "shop/web",
		"spiffe://td/ap/p/ns/default/dc/dc1/svc/we%2Fb": "we/b",
		"spiffe://td":                           "",
		"":                                      "",
		"spiffe://td/agent/client/dc/dc1/id/x":  "",
		"spiffe://td/ns/default/dc/dc1/svc/%zz": "%zz",
	} {
		if got := serviceOf(id); got != want {
			t.Errorf("%s is %q, want %q", id, got, want)
		}
	}
}

func TestFieldsAreNamedOnce(t *testing.T) {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("a name is there twice: %q", names)
	}
}

func FuzzFormats(f *testing.F) {
	f.Add("%START_TIME(%Y%m)% %REQUESTED_SERVER_NAME:3%\n", "sni\"\n")
	f.Add(`{"a":"%DURATION%"}`, "\\")
	f.Fuzz(func(t *testing.T, text, sni string) {
		s := denied()
		s.ServerName = sni
		for _, c := range []config.AccessLog{
			{Connections: config.AccessLogAll, TextFormat: text},
			{Connections: config.AccessLogAll, JSONFormat: text},
		} {
			compiled, _, err := newFormat(c, true)
			if err != nil {
				continue
			}
			var b bytes.Buffer
			compiled.write(&b, &logEntry{Summary: &s, source: &public})
			out := b.Bytes()
			if !bytes.HasSuffix(out, []byte("\n")) {
				t.Fatalf("no line: %q", out)
			}
			if c.JSONFormat != "" && (!json.Valid(out) || strings.Count(string(out), "\n") != 1) {
				t.Fatalf("no JSON line: %q", out)
			}
		}
	})
}

func TestAnAddressIsWrittenAsNetWritesIt(t *testing.T) {
	for _, a := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 50000}, // in 16 bytes
		&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1).To4(), Port: 1},
		&net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 65535},
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 80, Zone: "eth0"},
		&net.TCPAddr{Port: 80}, &net.TCPAddr{IP: net.IP{1, 2}, Port: 80},
		&net.UnixAddr{Name: "/run/web.sock", Net: "unix"},
	} {
		if got := addressOf(a); got != a.String() {
			t.Errorf("%s is written as %s", a, got)
		}
	}
	if got := addressOf(nil); got != "" {
		t.Errorf("none is written as %q", got)
	}
}
