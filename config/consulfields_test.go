package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// consulFields are the fields of a proxy's registration in Consul's own types, by
// their paths, each with a value as JSON. Lists stand for their first element,
// and what is opaque is the other tables'.
var consulFields = map[string]struct {
	meaning meaning
	value   string
	beside  string // what goes with it, and is there without it too
}{
	"DestinationServiceName": {honoured, `"other"`, ""},
	"DestinationServiceID":   {honoured, `"other-1"`, ""},
	"LocalServiceAddress":    {honoured, `"127.0.0.3"`, ""},
	"LocalServicePort":       {honoured, `8081`, ""},
	"LocalServiceSocketPath": {honoured, `"/run/app.sock"`, ""},
	"Config":                 {honoured, `{"local_connect_timeout_ms": 1234}`, ""},
	"MeshGateway.Mode":       {honoured, `"local"`, ""},

	"Mode":                                  {warned, `"transparent"`, ""},
	"TransparentProxy.OutboundListenerPort": {silent, `15001`, ""}, // only with the mode, which is warned of
	"TransparentProxy.DialedDirectly":       {silent, `true`, ""},  // others may dial it

	"Expose.Checks":                {warned, `true`, ""},
	"Expose.Paths.Path":            {warned, `"/health"`, ""},
	"Expose.Paths.ListenerPort":    {warned, `21500`, ""},
	"Expose.Paths.LocalPathPort":   {warned, `8080`, ""},
	"Expose.Paths.Protocol":        {warned, `"http2"`, ""},
	"Expose.Paths.ParsedFromCheck": {warned, `true`, ""},

	"EnvoyExtensions.Name":          {guarded, `"builtin/lua"`, ""},
	"EnvoyExtensions.Required":      {mistaken, `true`, ""},
	"EnvoyExtensions.Arguments":     {silent, `{"Script": ""}`, `{"EnvoyExtensions": [{"Name": "builtin/lua"}]}`},
	"EnvoyExtensions.ConsulVersion": {silent, `"1.16"`, `{"EnvoyExtensions": [{"Name": "builtin/lua"}]}`},
	"EnvoyExtensions.EnvoyVersion":  {silent, `"1.26"`, `{"EnvoyExtensions": [{"Name": "builtin/lua"}]}`},

	"AccessLogs.Enabled":             {honoured, `true`, ""},
	"AccessLogs.DisableListenerLogs": {honoured, `true`, `{"AccessLogs": {"Enabled": true}}`},
	"AccessLogs.Type":                {honoured, `"stderr"`, `{"AccessLogs": {"Enabled": true}}`},
	"AccessLogs.Path":                {honoured, `"/var/log/mesh"`, `{"AccessLogs": {"Enabled": true, "Type": "file"}}`},
	"AccessLogs.JSONFormat":          {honoured, `"{\"a\": \"b\"}"`, `{"AccessLogs": {"Enabled": true}}`},
	"AccessLogs.TextFormat":          {honoured, `"%START_TIME%"`, `{"AccessLogs": {"Enabled": true}}`},

	"Upstreams.DestinationName":      {honoured, `"cache"`, ""},
	"Upstreams.DestinationType":      {honoured, `"prepared_query"`, ""},
	"Upstreams.DestinationNamespace": {honoured, `"blue"`, ""},
	"Upstreams.DestinationPartition": {honoured, `"east"`, ""},
	"Upstreams.DestinationPeer":      {mistaken, `"cloud"`, ""},
	"Upstreams.Datacenter":           {honoured, `"dc2"`, ""},
	"Upstreams.LocalBindAddress":     {honoured, `"127.0.0.4"`, ""},
	"Upstreams.LocalBindPort":        {honoured, `9292`, ""},
	"Upstreams.LocalBindSocketPath":  {honoured, `"/run/db.sock"`, ""},
	"Upstreams.LocalBindSocketMode":  {honoured, `"0600"`, `{"Upstreams": [{"LocalBindSocketPath": "/run/db.sock", "LocalBindPort": 0}]}`},
	"Upstreams.Config":               {honoured, `{"connect_timeout_ms": 1234}`, ""},
	"Upstreams.MeshGateway.Mode":     {honoured, `"none"`, ""},
	"Upstreams.CentrallyConfigured":  {honoured, `true`, ""}, // nobody asked for it
}

func TestEveryFieldOfAProxyInConsulIsMeantOrSpokenOf(t *testing.T) {
	for path, f := range consulFields {
		without := registeredProxy(t, f.beside)
		with := registeredProxy(t, f.beside, nest(path, f.value))
		warnings := len(with.cfg.Warnings) - len(without.cfg.Warnings)
		security := len(with.cfg.SecurityWarnings) - len(without.cfg.SecurityWarnings)
		mistakes := len(with.mistakes) - len(without.mistakes)
		for _, r := range []*registration{with, without} {
			r.cfg.Warnings, r.cfg.SecurityWarnings = nil, nil
		}
		got := fmt.Sprintf("changed %t, %d warnings, %d of security, %d mistakes", !reflect.DeepEqual(with.cfg, without.cfg), warnings, security, mistakes)
		want := map[meaning]string{
			honoured: "changed true, 0 warnings, 0 of security, 0 mistakes",
			warned:   "changed false, 1 warnings, 0 of security, 0 mistakes",
			guarded:  "changed false, 0 warnings, 1 of security, 0 mistakes",
			silent:   "changed false, 0 warnings, 0 of security, 0 mistakes",
		}[f.meaning]
		if f.meaning == mistaken && mistakes != 1 || f.meaning != mistaken && got != want {
			t.Errorf("%s: %s, want %q (%v)", path, got, want, with.mistakes)
		}
	}
}

// registeredProxy is what an agent says of a proxy whose block has the fields of
// all fragments, the later ones' first.
func registeredProxy(t *testing.T, fragments ...string) *registration {
	t.Helper()
	proxy := map[string]any{
		"DestinationServiceName": "web", "LocalServicePort": 8080,
		"Upstreams": []any{map[string]any{"DestinationName": "db", "LocalBindPort": 9191}},
	}
	for _, text := range fragments {
		if text == "" {
			continue
		}
		var fragment map[string]any
		if err := json.Unmarshal([]byte(text), &fragment); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		merge(proxy, fragment)
	}
	body, err := json.Marshal(map[string]any{"Kind": "connect-proxy", "ID": "web-proxy", "Port": 20000, "Proxy": proxy})
	if err != nil {
		t.Fatal(err)
	}
	s, err := unmarshal[serviceAnswer](string(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	r := &registration{cfg: Config{Mode: Registered}}
	r.registered(s, "web-proxy")
	return r
}

// merge puts the fields of more into o, and into its nested objects and the first
// of its lists.
func merge(o, more map[string]any) {
	for key, v := range more {
		had, inner := o[key], v
		if list, ok := had.([]any); ok {
			had, inner = list[0], v.([]any)[0]
		}
		a, nested := had.(map[string]any)
		b, object := inner.(map[string]any)
		if nested && object {
			merge(a, b)
			continue
		}
		o[key] = v
	}
}

// lists are the fields with a list of objects.
var lists = map[string]bool{"Upstreams": true, "EnvoyExtensions": true, "Paths": true}

// nest is the object with a value at a path.
func nest(path, val string) string {
	key, rest, nested := strings.Cut(path, ".")
	if nested {
		val = nest(rest, val)
	}
	if lists[key] {
		val = "[" + val + "]"
	}
	return fmt.Sprintf("{%q: %s}", key, val)
}

// A field that Consul adds has to be put into the table.
func TestTheTableOfFieldsHasAllThatConsulKnowsOfAProxy(t *testing.T) {
	left := map[string]bool{}
	for path := range consulFields {
		left[path] = true
	}
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, inner := prefix+f.Name, f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				walk(name+".", inner)
				continue
			}
			if !left[name] {
				t.Errorf("a field of Consul's is not in the table: %s", name)
			}
			delete(left, name)
		}
	}
	walk("", reflect.TypeFor[api.AgentServiceConnectProxyConfig]())
	for path := range left {
		t.Errorf("Consul has no field %s", path)
	}
}
