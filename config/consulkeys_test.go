package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
)

// meaning is what becomes of a key that Consul's users set for Envoy.
type meaning int

const (
	honoured meaning = iota // it means here what it means there
	warned                  // an Envoy acts on it, and this proxy says that it does not
	guarded                 // the same, where it decides who may pass
	silent                  // it is about the inside of Envoy, or about gateways
	mistaken                // the proxy would not be what it has to be, and does not run
)

// consulKeys are the keys of a proxy's opaque settings by which Consul 1.2 to
// 1.22 and its bootstrap of Envoy know a setting, each with a value, as JSON.
var consulKeys = map[string]struct {
	meaning meaning
	value   string
}{
	"bind_address":             {honoured, `"127.0.0.2"`},
	"bind_port":                {honoured, `20001`},
	"local_service_address":    {silent, `"127.0.0.1:1"`}, // derived by agents from the fields that win over it
	"local_connect_timeout_ms": {honoured, `1234`},
	"handshake_timeout_ms":     {honoured, `1234`},
	"max_inbound_connections":  {honoured, `12`},
	"tcp_check_address":        {silent, `"127.0.0.1"`}, // the agent acts on these two
	"disable_tcp_check":        {silent, `true`},

	"local_idle_timeout_ms":    {warned, `30000`},
	"local_request_timeout_ms": {warned, `30000`},
	"max_request_headers_kb":   {warned, `60`},
	"rate_limits":              {warned, `{"instance_level": {}}`},
	"protocol":                 {warned, `"http"`},

	"balance_inbound_connections": {silent, `"exact_balance"`},
	"xds_fetch_timeout_ms":        {silent, `1000`},
	"upstreams":                   {silent, `[]`},
	"telemetry":                   {silent, `{}`},

	"envoy_prometheus_bind_addr": {honoured, `"0.0.0.0:9102"`},
	"circonus_api_token":         {warned, `"x"`}, // in telemetry
	"circonus_submission_url":    {warned, `"http://127.0.0.1"`},
	"envoy_stats_bind_addr":      {warned, `"0.0.0.0:9103"`},
	"envoy_statsd_url":           {honoured, `"udp://127.0.0.1:8125"`},
	"envoy_dogstatsd_url":        {honoured, `"udp://127.0.0.1:8125"`},
	"envoy_stats_tags":           {honoured, `["a=b"]`},
	"envoy_stats_flush_interval": {honoured, `"7s"`},

	"envoy_telemetry_collector_bind_socket_dir": {warned, `"/run"`},
	"envoy_hcp_metrics_bind_socket_dir":         {warned, `"/run"`},
	"envoy_bootstrap_json_tpl":                  {warned, `"{}"`},
	"envoy_extra_static_clusters_json":          {warned, `"{}"`},
	"envoy_extra_static_listeners_json":         {warned, `"{}"`},
	"envoy_extra_stats_sinks_json":              {warned, `"{}"`},
	"envoy_listener_tracing_json":               {warned, `"{}"`},
	"envoy_local_cluster_json":                  {warned, `"{}"`},
	"envoy_public_listener_json":                {guarded, `"{\"name\": \"envoy.filters.network.rbac\"}"`},
	"envoy_stats_config_json":                   {warned, `"{}"`},
	"envoy_tracing_json":                        {warned, `"{}"`},

	"envoy_dns_discovery_type":                    {silent, `"STRICT_DNS"`},
	"envoy_gateway_bind_addresses":                {silent, `{}`},
	"envoy_gateway_bind_tagged_addresses":         {silent, `true`},
	"envoy_gateway_no_default_bind":               {silent, `true`},
	"envoy_gateway_remote_tcp_enable_keepalive":   {silent, `true`},
	"envoy_gateway_remote_tcp_keepalive_interval": {silent, `1`},
	"envoy_gateway_remote_tcp_keepalive_probes":   {silent, `1`},
	"envoy_gateway_remote_tcp_keepalive_time":     {silent, `1`},
	"envoy_ready_bind_address":                    {silent, `"127.0.0.1"`},
	"envoy_ready_bind_port":                       {silent, `1`},
}

// consulUpstreamKeys are those of an upstream's, by their paths.
var consulUpstreamKeys = map[string]struct {
	meaning meaning
	value   string
}{
	"connect_timeout_ms":                             {honoured, `1234`},
	"protocol":                                       {warned, `"http"`},
	"envoy_listener_json":                            {warned, `"{}"`},
	"envoy_cluster_json":                             {guarded, `"{\"http_filters\": \"envoy.filters.http.lua\"}"`},
	"balance_outbound_connections":                   {silent, `"exact_balance"`},
	"mesh_gateway.mode":                              {honoured, `"local"`},
	"limits.max_connections":                         {honoured, `12`},
	"limits.max_pending_requests":                    {warned, `12`},
	"limits.max_concurrent_requests":                 {warned, `12`},
	"passive_health_check.interval":                  {honoured, `"12s"`},
	"passive_health_check.max_failures":              {honoured, `12`},
	"passive_health_check.base_ejection_time":        {honoured, `"12s"`},
	"passive_health_check.max_ejection_percent":      {honoured, `12`},
	"passive_health_check.enforcing_consecutive_5xx": {honoured, `0`},
	"name":      {silent, `"db"`}, // of an override, merged away by the agent
	"namespace": {silent, `"default"`},
	"partition": {silent, `"default"`},
	"peer":      {silent, `""`},
}

func TestEveryKeyThatConsulsUsersSetIsMeantOrSpokenOf(t *testing.T) {
	without := registered(t, "", "", false).cfg
	try := func(kind, key, val string, want meaning) {
		r := registered(t, kind+"."+key, val, false)
		same := r.cfg
		same.Warnings, same.SecurityWarnings = nil, nil
		got := fmt.Sprintf("changed %t, warnings %q and %q", !reflect.DeepEqual(same, without), r.cfg.Warnings, r.cfg.SecurityWarnings)
		expected := map[meaning]string{
			honoured: "changed true, warnings [] and []",
			silent:   "changed false, warnings [] and []",
		}[want]
		switch {
		case len(r.mistakes) > 0:
			t.Errorf("%s %s: mistakes %v", kind, key, r.mistakes)
		case want == warned && (len(r.cfg.Warnings) != 1 || len(r.cfg.SecurityWarnings) > 0), want == guarded && (len(r.cfg.Warnings) > 0 || len(r.cfg.SecurityWarnings) != 1):
			t.Errorf("%s %s: %s, want one line", kind, key, got)
		case expected != "" && got != expected:
			t.Errorf("%s %s: %s, want %s", kind, key, got, expected)
		}
	}
	for key, k := range consulKeys {
		try("proxy", key, k.value, k.meaning)
	}
	for key, k := range consulUpstreamKeys {
		if strings.HasPrefix(key, "name") || key == "partition" || key == "peer" {
			continue
		}
		try("upstream", key, k.value, k.meaning)
	}
}

// What Consul's own types have is in the tables.
func TestTheTablesOfKeysHaveAllThatConsulKnows(t *testing.T) {
	var want []string
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := prefix + snake(f.Name)
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				walk(name+".", inner)
				continue
			}
			want = append(want, name)
		}
	}
	walk("", reflect.TypeFor[api.UpstreamConfig]())
	for _, key := range want {
		if _, ok := consulUpstreamKeys[key]; !ok {
			t.Errorf("an upstream's key of Consul is not in the table: %s", key)
		}
	}
	for name := range elsewhere {
		_, proxy := consulKeys[name]
		if !proxy && !slices.ContainsFunc(slices.Collect(maps.Keys(consulUpstreamKeys)), func(k string) bool { return k == name || strings.HasSuffix(k, "."+name) }) {
			t.Errorf("%s is known to mean something elsewhere, and is not in the table", name)
		}
	}
	for key, k := range consulKeys {
		if !json.Valid([]byte(k.value)) {
			t.Errorf("%s: the value is no JSON", key)
		}
	}
}
