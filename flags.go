package main

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
	register                     bool
	registerID                   string

	tlsRecords           string
	tlsKeyExchange       string
	drainTimeout         string
	adminAddr, pprofAddr string
	logLevel             string
	logJSON              bool

	agent agentFlags
}

// agentFlags say how the local agent is reached; each beats its CONSUL_*
// variable.
type agentFlags struct {
	httpAddr                         string
	token, tokenFile                 string
	caFile, caPath                   string
	clientCert, clientKey            string
	tlsServerName                    string
	datacenter, namespace, partition string
}

// flagGroup is a heading of the help and the flags below it, in order.
type flagGroup struct {
	title string
	names []string
}

// flagGroups puts every flag under one heading; a test holds it to the flag set.
var flagGroups = []flagGroup{
	{"What to run (one of the first four)", []string{
		"proxy-id", "sidecar-for", "config-file", "service",
		"service-addr", "listen", "upstream", "register", "register-id",
	}},
	{"The agent", []string{
		"http-addr", "token", "token-file", "ca-file", "ca-path", "client-cert", "client-key",
		"tls-server-name", "datacenter", "namespace", "partition",
	}},
	{"Operation", []string{
		"tls-records", "tls-key-exchange", "drain-timeout", "admin-addr", "log-level", "log-json", "pprof-addr",
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
			"Default: 4s for a managed proxy, since the agent kills it after 5 s, else 30s or the file's drain_timeout.")
	fs.StringVar(&o.tlsRecords, "tls-records", "",
		"Who protects the `records` of TLS 1.3 connections with other proxies: own, or crypto/tls, which is slower and Go's. "+
			"Beats the configuration's tls_records. Environment: CONNECT_PROXY_TLS_RECORDS.")
	fs.StringVar(&o.tlsKeyExchange, "tls-key-exchange", "",
		"Key `exchange` with other proxies: classic, or hybrid, which prefers X25519MLKEM768. "+
			"Beats the configuration's tls_key_exchange. Environment: CONNECT_PROXY_TLS_KEY_EXCHANGE.")
	fs.StringVar(&o.adminAddr, "admin-addr", "",
		"Serve /health and /ready as JSON on this loopback or unix socket `address`, as 127.0.0.1:19000 or unix:/run/connect-proxy.sock.")
	fs.StringVar(&o.logLevel, "log-level", "info",
		"Least `level` that is logged: trace, debug, info, warn, error or off.")
	fs.BoolVar(&o.logJSON, "log-json", false, "Log one JSON object a line.")
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
	fs.BoolVar(&o.register, "register", false,
		"Register the proxy with the local agent, with a check that follows readiness, and deregister it at exit. "+
			"Goes with -service and -listen, or -config-file.")
	fs.StringVar(&o.registerID, "register-id", "",
		"`Suffix` for the ID of the registration, which is SERVICE-proxy without it. Goes with -register.")
}

func (a *agentFlags) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.httpAddr, "http-addr", "",
		"`Address` of the agent's HTTP API, as 127.0.0.1:8500, https://host:8501 or unix:///path. "+
			"Default: http://127.0.0.1:8500. Environment: CONSUL_HTTP_ADDR.")
	fs.StringVar(&a.token, "token", "",
		"ACL `token`; a file or the environment keeps it out of the process list. "+
			"Environment: CONNECT_PROXY_TOKEN, then CONSUL_HTTP_TOKEN.")
	fs.StringVar(&a.tokenFile, "token-file", "",
		"`File` with the ACL token; beats -token and is read again for each request, so that a token can be replaced. "+
			"Environment: CONSUL_HTTP_TOKEN_FILE.")
	fs.StringVar(&a.caFile, "ca-file", "", "CA `file` for TLS to the agent. Environment: CONSUL_CACERT.")
	fs.StringVar(&a.caPath, "ca-path", "", "`Directory` of CA files for TLS to the agent. Environment: CONSUL_CAPATH.")
	fs.StringVar(&a.clientCert, "client-cert", "",
		"Client certificate `file` for TLS to the agent. Environment: CONSUL_CLIENT_CERT.")
	fs.StringVar(&a.clientKey, "client-key", "",
		"Key `file` of the client certificate. Environment: CONSUL_CLIENT_KEY.")
	fs.StringVar(&a.tlsServerName, "tls-server-name", "",
		"Server `name` expected of the agent's certificate. Environment: CONSUL_TLS_SERVER_NAME.")
	fs.StringVar(&a.datacenter, "datacenter", "", "`Datacenter` of the upstreams that name none, instead of the agent's own.")
	fs.StringVar(&a.namespace, "namespace", "",
		"`Namespace` of the service (Consul Enterprise). Environment: CONSUL_NAMESPACE.")
	fs.StringVar(&a.partition, "partition", "",
		"Admin `partition` of the service (Consul Enterprise). Environment: CONSUL_PARTITION.")
}

// stringList is a flag that may be repeated.
type stringList []string

var _ flag.Value = (*stringList)(nil)

func (l *stringList) String() string { return strings.Join(*l, ", ") }

func (l *stringList) Set(s string) error {
	*l = append(*l, s)
	return nil
}
