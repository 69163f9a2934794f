package connectproxy

import (
	"cmp"
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/upstream/watch"
)

func sortDecisions(d []adminapi.Decision) {
	slices.SortFunc(d, func(a, b adminapi.Decision) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Peer, b.Peer))
	})
}

// Config tells the settings in force by the names of their keys.
func (a adminSource) Config() adminapi.Config {
	st := a.p.published.Load()
	out := adminapi.Config{Warnings: []string{}, SecurityWarnings: []string{}, Settings: []adminapi.Setting{}}
	out.Problem = cmp.Or(st.configProblem, a.p.o.Source.Problem())
	c := st.config
	if c == nil {
		return out
	}
	out.From = origin(c)
	out.AgeSeconds = watch.Seconds(time.Since(st.since))
	out.Warnings = append(out.Warnings, c.Warnings...)
	out.SecurityWarnings = append(out.SecurityWarnings, c.SecurityWarnings...)
	out.Settings = settingsOf(c, a.p.o)
	return out
}

// settingsOf are all settings in force, passwords apart.
func settingsOf(c *config.Config, o Options) []adminapi.Setting {
	w := settingWriter{from: origin(c), settings: []adminapi.Setting{}}
	w.top(c, o)
	w.accessLogs(c.AccessLog)
	w.telemetry(c.Telemetry)
	for _, i := range c.Identities {
		w.identity(i)
	}
	if c.Public != nil {
		w.public(c.Public)
	}
	for i := range c.Upstreams {
		w.upstream(&c.Upstreams[i], c)
	}
	if c.ByName != nil {
		w.byName(c.ByName)
	}
	if c.Micro != nil {
		w.micro(c.Micro)
	}
	if c.Edge != nil {
		w.edge(c.Edge)
	}
	if c.DynamicUpstreams != nil {
		w.prefix = "dynamic_upstreams."
		w.dialling(c.DynamicUpstreams, config.Config{ByName: &config.ByName{}}.WithDefaults().DynamicUpstreams)
	}
	return w.settings
}

// origin says where a configuration is from.
func origin(c *config.Config) string {
	switch c.Mode {
	case config.Managed:
		return "registration of the managed proxy " + c.ProxyID
	case config.Registered:
		return "registration " + c.ProxyID + ", with what central configuration adds to it"
	case config.File:
		return "configuration file"
	case config.Embedded:
		return "program"
	case config.Flags:
		return "command line"
	}
	return string(c.Mode)
}

func (w *settingWriter) top(c *config.Config, o Options) {
	none := config.Config{Mode: c.Mode, AccessLog: config.AccessLog{Enabled: c.AccessLog.Enabled}}.WithDefaults()
	w.addOptional("service_name", c.Service)
	w.addOptional("service_id", c.ServiceID)
	w.addOptional("namespace", c.Namespace)
	w.addOptional("partition", c.Partition)
	drain := c.DrainTimeout
	if o.DrainTimeout > 0 {
		drain = o.DrainTimeout
	}
	w.add("drain_timeout", drain, none.DrainTimeout)
	w.by("-drain-timeout", o.DrainTimeout > 0)
	w.add("tls_records", c.TLS.Records, none.TLS.Records)
	w.by("-tls-records or CONNECT_PROXY_TLS_RECORDS", o.TLS.Records != "")
	w.add("tls_key_exchange", c.TLS.KeyExchange, none.TLS.KeyExchange)
	w.by("-tls-key-exchange or CONNECT_PROXY_TLS_KEY_EXCHANGE", o.TLS.KeyExchange != "")
	w.add("access_log", c.AccessLog.Connections, none.AccessLog.Connections)
	w.by("-access-log or CONNECT_PROXY_ACCESS_LOG", o.AccessLogConnections != "")
	w.add("max_stale_authorization", c.MaxStaleAuthorization, none.MaxStaleAuthorization)
	w.add("max_stale_endpoints", c.MaxStaleEndpoints, none.MaxStaleEndpoints)
}

func (w *settingWriter) accessLogs(a config.AccessLog) {
	w.prefix = "access_logs."
	w.set("enabled", a.Enabled)
	w.set("disable_listener_logs", a.DisableListenerLogs)
	if a.Enabled || !a.Off() {
		w.add("type", a.Type, config.AccessLogStdout)
	}
	w.addOptional("path", a.Path)
	w.addOptional("json_format", a.JSONFormat)
	w.addOptional("text_format", a.TextFormat)
}

// telemetry adds where metrics go, by the names of Consul's users for Envoy, and
// what an agent says of it that launches proxies.
func (w *settingWriter) telemetry(t config.Telemetry) {
	w.prefix = ""
	w.addOptional("envoy_prometheus_bind_addr", t.PrometheusAddress)
	w.addOptional("envoy_statsd_url", t.StatsdURL)
	w.addOptional("envoy_dogstatsd_url", t.DogstatsdURL)
	w.listed("envoy_stats_tags", t.Tags)
	b := t.BuiltIn
	if t.FlushInterval > 0 || t.StatsdURL+t.DogstatsdURL+b.StatsdAddress+b.StatsiteAddress+b.DogstatsdAddress != "" {
		w.add("envoy_stats_flush_interval", cmp.Or(t.FlushInterval, config.DefaultFlushInterval), config.DefaultFlushInterval)
	}
	w.prefix = "telemetry."
	w.addOptional("statsd_address", b.StatsdAddress)
	w.addOptional("statsite_address", b.StatsiteAddress)
	w.addOptional("dogstatsd_addr", b.DogstatsdAddress)
	w.listed("dogstatsd_tags", b.DogstatsdTags)
	w.addOptional("metrics_prefix", b.Prefix)
	w.set("disable_hostname", b.DisableHostname)
	w.set("filter_default", b.FilterDefault)
	w.listed("allowed_prefixes", b.AllowedPrefixes)
	w.listed("blocked_prefixes", b.BlockedPrefixes)
}

func (w *settingWriter) identity(i config.Identity) {
	w.prefix = "identity." + i.Name + "."
	w.addOptional("cert_file", i.Cert)
	w.addOptional("key_file", i.Key)
	w.addOptional("pkcs12_file", i.PKCS12)
	w.addOptional("pkcs12_password_file", i.PKCS12Password)
	w.addOptional("ca_file", i.CA)
}

func (w *settingWriter) public(p *config.Public) {
	w.prefix = "public_listener."
	none := config.Config{Public: &config.Public{}}.WithDefaults().Public
	w.bind(p.Bind, "bind_")
	w.addOptional("local_service_address", describeAddress(p.Local))
	w.add("local_connect_timeout_ms", p.LocalConnectTimeout.Milliseconds(), none.LocalConnectTimeout.Milliseconds())
	w.addOptional("local_proxy_protocol", string(p.LocalProxyProtocol))
	w.add("handshake_timeout_ms", p.HandshakeTimeout.Milliseconds(), none.HandshakeTimeout.Milliseconds())
	w.add("max_inbound_connections", p.MaxConnections, none.MaxConnections)
	w.add("tls_min_version", tls.VersionName(p.MinTLS), tls.VersionName(none.MinTLS))
	w.addOptional("identity", p.Identity)
	w.listed("allow", p.Allow)
	w.listed("alpn", p.ALPN)
	w.limits(p.Limits, none.Limits)
}

func (w *settingWriter) upstream(u *config.Upstream, c *config.Config) {
	w.prefix = "upstream." + u.Destination.String() + "."
	none := config.Config{Namespace: c.Namespace, Partition: c.Partition,
		Upstreams: []config.Upstream{{Destination: u.Destination}}}.WithDefaults().Upstreams[0]
	d := u.Destination
	w.add("destination_type", d.Type, config.Service)
	w.addOptional("destination_name", d.Name)
	w.addOptional("destination_namespace", d.Namespace)
	w.addOptional("destination_partition", d.Partition)
	w.addOptional("datacenter", d.Datacenter)
	w.listed("destination_addresses", d.AddressList())
	w.etcd(d.Etcd)
	w.addOptional("identity", u.Identity)
	w.listed("verify", d.Patterns())
	w.bind(u.Bind, "local_bind_")
	w.dialling(u, &none)
}

func (w *settingWriter) etcd(e config.Etcd) {
	w.listed("etcd_endpoints", e.EndpointList())
	w.addOptional("etcd_ca_file", e.CAFile)
	w.addOptional("etcd_cert_file", e.CertFile)
	w.addOptional("etcd_key_file", e.KeyFile)
	w.addOptional("etcd_username", e.Username)
	w.addOptional("etcd_password_file", e.PasswordFile)
}

// defaultBalance is what an upstream without a balance does.
const defaultBalance = "least_connections; a query's own order"

// dialling adds how instances are connected to.
func (w *settingWriter) dialling(u, none *config.Upstream) {
	if u.ConnectTimeout > 0 {
		w.add("connect_timeout_ms", u.ConnectTimeout.Milliseconds(), none.ConnectTimeout.Milliseconds())
	} else {
		w.add("connect_timeout_ms", "the service-resolver's, else 5000", "the service-resolver's, else 5000")
	}
	if u.Balance != "" {
		w.add("balance", u.Balance, none.Balance)
	} else {
		w.add("balance", defaultBalance, defaultBalance)
	}
	w.addOptional("reset_on_change", string(u.ResetOnChange))
	w.add("limits.max_connections", u.MaxConnections, none.MaxConnections)
	w.passiveHealth(u.PassiveHealth, none.PassiveHealth)
	w.addOptional("mesh_gateway.mode", u.MeshGateway)
	w.limits(u.Limits, none.Limits)
}

func (w *settingWriter) passiveHealth(p, none config.PassiveHealth) {
	const block = "passive_health_check."
	if p.Disabled {
		w.addOptional(block+"enforcing_consecutive_5xx", "0")
	} else {
		w.add(block+"enforcing_consecutive_5xx", "100", "100")
	}
	w.add(block+"max_failures", p.MaxFailures, none.MaxFailures)
	w.add(block+"base_ejection_time", p.BaseEjectionTime, none.BaseEjectionTime)
	w.add(block+"max_ejection_percent", p.MaxEjectionPercent, none.MaxEjectionPercent)
}

// byName shows no password.
func (w *settingWriter) byName(b *config.ByName) {
	w.prefix = "by_name."
	none := config.Config{ByName: &config.ByName{}}.WithDefaults().ByName
	w.bind(b.Bind, "bind_")
	w.add("remote_clients", b.RemoteClients, none.RemoteClients)
	w.listed("host_names", b.HostNames)
	w.listed("allow", b.Allow)
	for _, u := range b.Users {
		w.addOptional("users."+u.Name+".allow", cmp.Or(strings.Join(u.Allow, ", "), "none"))
	}
	w.add("route", b.Route, none.Route)
	w.add("keep_path", b.KeepPath, none.KeepPath)
	w.add("dns_domain", b.DNSDomain, none.DNSDomain)
	w.add("max_connections", b.MaxConnections, none.MaxConnections)
}

func (w *settingWriter) edge(e *config.Edge) {
	w.prefix = "edge."
	none := config.Config{Edge: &config.Edge{ACME: config.ACME{CacheDir: e.ACME.CacheDir}}}.WithDefaults().Edge
	w.bind(e.Bind, "bind_")
	w.listed("hosts", e.Hosts)
	w.listed("allow", e.Allow)
	w.add("cert_file", e.Cert, none.Cert)
	w.add("key_file", e.Key, none.Key)
	w.add("acme_cache_dir", e.ACME.CacheDir, "")
	w.add("acme_email", e.ACME.Email, none.ACME.Email)
	w.add("acme_directory_url", e.ACME.DirectoryURL, none.ACME.DirectoryURL)
	w.add("acme_ca_file", e.ACME.CA, none.ACME.CA)
	w.add("namespace", e.Namespace, none.Namespace)
	w.add("handler", e.Handler, none.Handler)
	w.listed("remove_headers", e.RemoveHeaders)
	w.listed("keep_headers", e.KeepHeaders)
	w.add("max_connections", e.MaxConnections, none.MaxConnections)
}

func (w *settingWriter) micro(m *config.Micro) {
	w.prefix = "micro."
	none := config.Config{Micro: &config.Micro{}}.WithDefaults().Micro
	if m.Listens() {
		w.bind(m.Bind, "bind_")
	}
	w.add("remote_clients", m.RemoteClients, none.RemoteClients)
	w.listed("host_names", m.HostNames)
	w.listed("allow", m.Allow)
	w.listed("register", m.Register)
	w.listed("topics", m.Topics)
	w.add("receive_events", m.ReceiveEvents, none.ReceiveEvents)
	w.addOptional("server_name", m.Server.Name)
	if m.Server.Name != "" {
		w.addOptional("server_address", m.Server.Address.String())
	}
	shown, _, _ := strings.Cut(m.Server.HealthCheckURL, "?") // what follows may be a secret
	w.addOptional("healthcheck_url", shown)
	w.add("namespace", m.Namespace, none.Namespace)
	w.add("handler", m.Handler, none.Handler)
	w.add("max_connections", m.MaxConnections, none.MaxConnections)
}
