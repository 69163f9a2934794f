package cli

import (
	"flag"
	"strings"
)

// options are the command line's, before anything is looked at twice: addresses,
// upstreams and durations are still text, so that every mistake in them can be
// named at once.
type options struct {
	proxyID, sidecarFor, configFile string

	service, serviceAddr, listen string
	upstreams                    stringList
	byNameAddr                   string
	byNameAllow                  stringList
	byNameRemote                 bool
	microAddr                    string
	microAllow                   stringList
	microRegister                stringList
	microRemote                  bool
	microTopics                  stringList
	microEvents                  bool
	serverName, serverAddress    string
	healthCheckURL               string
	edgeAddr                     string
	edgeHosts, edgeAllow         stringList
	edgeRemoveHeaders            stringList
	edgeCert, edgeKey            string
	edgeACMECache, edgeACMEEmail string
	edgeACMEDirectory            string
	register                     bool
	registerID                   string

	accessLog            string
	tlsRecords           string
	tlsKeyExchange       string
	drainTimeout         string
	adminAddr, pprofAddr string
	metricsNames         string
	logLevel             string
	logJSON              bool

	agent agentFlags
}

// flagGroup is a heading of the help and the flags below it, in order.
type flagGroup struct {
	title string
	names []string
}

// operation is the heading of the flags that any proxy has.
const operation = "Operation"

// flagGroups puts every flag under one heading; a test holds it to the flag set.
var flagGroups = []flagGroup{
	{"What to run (one of the first four)", []string{
		"proxy-id", "sidecar-for", "config-file", "service",
		"service-addr", "listen", "upstream", "by-name-addr", "by-name-allow", "by-name-remote-clients", "micro-addr", "micro-allow", "micro-register", "micro-remote-clients", "micro-topics", "micro-receive-events", "server-name", "server-address", "healthcheck-url",
		"edge-addr", "edge-hosts", "edge-allow", "edge-remove-headers", "edge-cert-file", "edge-key-file", "edge-acme-cache", "edge-acme-email", "edge-acme-directory",
		"register", "register-id",
	}},
	{"The agent", []string{
		"http-addr", "token", "token-file", "ca-file", "ca-path", "client-cert", "client-key",
		"tls-server-name", "datacenter", "namespace", "partition",
	}},
	{operation, []string{
		"tls-records", "tls-key-exchange", "drain-timeout", "admin-addr", "metrics-names", "log-level", "log-json", "access-log", "pprof-addr",
	}},
}

// flagSet binds every flag to o. The names and meanings are those of
// `consul connect proxy`; -config-file, -drain-timeout and -admin-addr are ours.
func (o *options) flagSet() *flag.FlagSet {
	fs := flag.NewFlagSet("connect-proxy", flag.ContinueOnError)
	o.sourceFlags(fs)
	o.agent.flags(fs)
	fs.StringVar(&o.drainTimeout, "drain-timeout", "",
		"How long, as a `duration` such as 30s, open connections are waited for at exit. "+
			"Overrides the configuration's drain_timeout. Default: 30s; 4s for a managed proxy and under Nomad, since the agent and Nomad kill it after 5 s.")
	fs.StringVar(&o.tlsRecords, "tls-records", "",
		"Which code protects the `records` of TLS 1.3 connections with other proxies: own, or Go's crypto/tls, which is slower. "+
			"Overrides the configuration's tls_records. Environment: CONNECT_PROXY_TLS_RECORDS.")
	fs.StringVar(&o.tlsKeyExchange, "tls-key-exchange", "",
		"Key `exchange` with other proxies: classic, or hybrid, which prefers X25519MLKEM768. "+
			"Overrides the configuration's tls_key_exchange. Environment: CONNECT_PROXY_TLS_KEY_EXCHANGE.")
	fs.StringVar(&o.metricsNames, "metrics-names", "both",
		"Under which `names` /metrics shows connections: native, envoy, for the UI of Consul, or both.")
	fs.StringVar(&o.adminAddr, "admin-addr", "",
		"Serve the dashboard and the admin pages, /metrics among them, on this loopback or unix socket `address`, as 127.0.0.1:19000 or "+
			"unix:/run/connect-proxy.sock, or off. Default: a unix socket for the proxy's own user, named after the proxy, "+
			"in $RUNTIME_DIRECTORY (set by systemd), /run/connect-proxy (for root), $XDG_RUNTIME_DIR/connect-proxy or "+
			"/tmp/connect-proxy-UID: the first that can be used.")
	fs.StringVar(&o.logLevel, "log-level", "info",
		"Least `level` that is logged: trace, debug, info, warn, error or off.")
	fs.BoolVar(&o.logJSON, "log-json", false, "Log one JSON object a line.")
	fs.StringVar(&o.accessLog, "access-log", "",
		"Which `connections` are recorded in the access log when they have ended: off, errors or all. "+
			"Overrides the configuration's access_log. Environment: CONNECT_PROXY_ACCESS_LOG.")
	fs.StringVar(&o.pprofAddr, "pprof-addr", "",
		"Serve Go's profiles below /debug/pprof/ on this `address`. A port that is taken is a warning only.")
	return fs
}

func (o *options) sourceFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.proxyID, "proxy-id", "",
		"Take the configuration from the proxy registered with this `ID` on the local agent. Environment: CONNECT_PROXY_ID.")
	fs.StringVar(&o.sidecarFor, "sidecar-for", "",
		"Take it from the one proxy whose destination is the service instance with this `ID`. Environment: CONNECT_SIDECAR_FOR.")
	fs.StringVar(&o.configFile, "config-file", "",
		"Take it from this HCL or JSON `file`, which is read again when its content changes.")
	fs.StringVar(&o.service, "service", "",
		"Take it from the flags alone and represent the service of this `name`.")
	fs.StringVar(&o.serviceAddr, "service-addr", "",
		"`Address` of the local service, as 127.0.0.1:8080 or unix:/path. Goes with -service and -listen.")
	fs.StringVar(&o.listen, "listen", "",
		"`Address` of the public listener, as :8443. Goes with -service and -service-addr.")
	fs.Var(&o.upstreams, "upstream",
		"Reach a `destination` on a local address; repeatable. NAME:PORT, NAME:HOST:PORT, NAME:[IPv6]:PORT or NAME:unix:/path; "+
			"NAME.query is a prepared query. Goes with -service.")
	fs.StringVar(&o.byNameAddr, "by-name-addr", "",
		"Take SOCKS5, HTTP CONNECT and plain HTTP for a proxy on this loopback or unix socket `address`, as 127.0.0.1:1080: "+
			"applications name the service that they want. Goes with -service and -by-name-allow.")
	fs.Var(&o.byNameAllow, "by-name-allow",
		"`Names`, separated by commas, that applications may ask for at -by-name-addr: db, team-*, db@dc2, near.query, or * for all; repeatable.")
	fs.BoolVar(&o.byNameRemote, "by-name-remote-clients", false,
		"Let -by-name-addr be an address that other machines reach: all of them can then act as this service.")
	fs.StringVar(&o.microAddr, "micro-addr", "",
		"Take the calls of applications made with Micro on this loopback or unix socket `address`, as 127.0.0.1:8081, "+
			"for whatever service each names. Goes with -service and -micro-allow.")
	fs.Var(&o.microAllow, "micro-allow",
		"`Names`, separated by commas, of services that may be called at -micro-addr, as for -by-name-allow; repeatable.")
	fs.Var(&o.microRegister, "micro-register",
		"`Names`, separated by commas, of services that applications may register at -micro-addr; repeatable.")
	fs.BoolVar(&o.microRemote, "micro-remote-clients", false,
		"Let -micro-addr be an address that other machines reach: all of them can then act as this service.")
	fs.Var(&o.microTopics, "micro-topics",
		"`Topics`, separated by commas, of events that may be published and subscribed to at -micro-addr: orders, user.*, or * for all; repeatable.")
	fs.BoolVar(&o.microEvents, "micro-receive-events", false,
		"Take connections at -listen for events that other services publish, for those who subscribe at -micro-addr. Goes without -service-addr.")
	fs.StringVar(&o.serverName, "server-name", "",
		"Represent the service of this `name` as -service does, and register its application and the proxy with the local agent, "+
			"until the proxy stops. Goes with -server-address and -listen.")
	fs.StringVar(&o.serverAddress, "server-address", "",
		"`Address` of the application of -server-name, as 127.0.0.1:9090; in place of -service-addr.")
	fs.StringVar(&o.healthCheckURL, "healthcheck-url", "",
		"Ask this `URL` every 5 s whether the application of -server-name is healthy: it is in service while the answer's status is 2xx.")
	o.defineEdge(fs)
	fs.BoolVar(&o.register, "register", false,
		"Register the proxy with the local agent, with a check that follows readiness, and deregister it at exit. "+
			"Goes with -service and -listen, or -config-file.")
	fs.StringVar(&o.registerID, "register-id", "",
		"`Suffix` for the IDs that are registered: SERVICE-proxy-SUFFIX instead of SERVICE-proxy, and for -server-name also "+
			"NAME-SUFFIX instead of NAME. Goes with -register or -server-name.")
}

// stringList is a flag that may be repeated.
type stringList []string

var _ flag.Value = (*stringList)(nil)

func (l *stringList) String() string { return strings.Join(*l, ", ") }

func (l *stringList) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// split returns what stands between commas.
func (l stringList) split() (all []string) {
	for _, names := range l {
		all = append(all, strings.Split(names, ",")...)
	}
	return all
}
