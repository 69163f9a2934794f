package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// unhonoured are the keys of opaque settings that an Envoy acts on and this
// proxy does not, each with the reason or with what to do instead. Keys that are
// about Envoy's inside, such as its worker threads, are not among them.
var unhonoured = map[string]string{
	"local_idle_timeout_ms":    "it bounds HTTP streams, and would cut TCP connections at rest: to bound these, set idle_timeout",
	"local_request_timeout_ms": "it bounds HTTP requests, which are not looked at",
	"max_request_headers_kb":   "it bounds HTTP requests, which are not looked at",
	"max_pending_requests":     "connections do not queue here: set limits.max_connections",
	"max_concurrent_requests":  "it bounds HTTP requests, which are not looked at",
	"rate_limits":              "it bounds HTTP requests, which are not looked at",

	"envoy_stats_bind_addr":   "metrics are at /metrics of -admin-addr, and of envoy_prometheus_bind_addr",
	"circonus_api_token":      "metrics are not sent to Circonus",
	"circonus_submission_url": "metrics are not sent to Circonus",

	"envoy_telemetry_collector_bind_socket_dir": "there is no way to that collector",
	"envoy_hcp_metrics_bind_socket_dir":         "there is no way to that collector",
	"envoy_bootstrap_json_tpl":                  "this proxy is not Envoy",
	"envoy_cluster_json":                        "this proxy is not Envoy",
	"envoy_extra_static_clusters_json":          "this proxy is not Envoy",
	"envoy_extra_static_listeners_json":         "this proxy is not Envoy",
	"envoy_extra_stats_sinks_json":              "this proxy is not Envoy",
	"envoy_listener_json":                       "this proxy is not Envoy",
	"envoy_listener_tracing_json":               "this proxy is not Envoy",
	"envoy_local_cluster_json":                  "this proxy is not Envoy",
	"envoy_public_listener_json":                "this proxy is not Envoy",
	"envoy_stats_config_json":                   "this proxy is not Envoy",
	"envoy_tracing_json":                        "this proxy is not Envoy",
}

// guards are what Envoy's own configuration has in it where it decides who may
// pass: whoever wrote it believes a door closed that is open here.
var guards = []string{"ext_authz", "rbac", "jwt_authn", "lua", "wasm", "rate_limit", "ratelimit"}

// guardingExtensions are Consul's extensions that do, or can do, the same.
var guardingExtensions = map[string]bool{
	"builtin/ext-authz": true, "builtin/lua": true, "builtin/wasm": true, "builtin/property-override": true,
	"builtin/aws/lambda": false, "builtin/localratelimit": true, "builtin/otel-access-logging": false,
}

// warnOfUnhonoured tells of settings that something else would act on. They are
// no mistakes: they may be meant for other proxies of the same agent.
func (r *registration) warnOfUnhonoured(field, of string, config object) {
	for _, key := range slices.Sorted(maps.Keys(config)) {
		name, v := snake(key), value{raw: config[key], agent: true}
		why, listed := unhonoured[name]
		switch {
		case v.unset() || v.raw == false:
		case name == "protocol" && v.raw != "tcp":
			r.warn("%sprotocol %s is treated as tcp: what passes is not looked into", of, v)
		case strings.HasPrefix(name, "envoy_") && guarding(v):
			r.warnSecurity("%s%s is ignored, and it decides who may pass: this proxy is not Envoy", of, name)
		case strings.HasPrefix(name, "envoy_") && (listed || strings.HasSuffix(name, "_json")):
			r.warn("%s%s is ignored: %s", of, name, cmp.Or(why, "this proxy is not Envoy"))
		case listed:
			r.warn("%s is ignored: %s", field+name, why)
		case name == "limits", name == "telemetry":
			if nested, err := v.block(); err == nil {
				r.warnOfUnhonoured(field+name+".", of, nested)
			}
		}
	}
}

// guarding reports whether a text has one of guards in it.
func guarding(v value) bool {
	text, ok := v.raw.(string)
	return ok && slices.ContainsFunc(guards, func(g string) bool { return strings.Contains(text, g) })
}

// extension tells of an extension of Envoy that is not required.
func (r *registration) extension(name string) {
	guards, known := guardingExtensions[name]
	if guards || !known {
		r.warnSecurity("Envoy extension %s is ignored, and it may decide who may pass: this proxy is not Envoy", quoted(name))
		return
	}
	r.warn("Envoy extension %s is ignored", quoted(name))
}
