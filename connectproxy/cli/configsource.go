package cli

import (
	"cmp"
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agent"
)

// lookupEnv looks a variable up; an empty value is an unset one, since an agent
// sets all of CONSUL_* for the proxies it launches, most of them to nothing.
type lookupEnv func(name string) string

// configSource is where the configuration comes from: exactly one of four.
type configSource struct {
	mode config.Mode
	// proxyID or sidecarFor, in the modes that ask the agent.
	proxyID, sidecarFor string
	// by is the flag or variable that decided, for messages.
	by string
}

// flagsSet lists those of names that stand on the command line, in that order.
func flagsSet(fs *flag.FlagSet, names ...string) []string {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	var found []string
	for _, n := range names {
		if set[n] {
			found = append(found, "-"+n)
		}
	}
	return found
}

// serviceFlags say what the proxy of a service does, where flags alone say it.
var serviceFlags = []string{
	"service-addr", "listen", "upstream", "by-name-addr", "by-name-allow", "by-name-remote-clients",
	"micro-addr", "micro-allow", "micro-register", "micro-remote-clients", "micro-topics", "micro-receive-events",
	"server-name", "server-address", "healthcheck-url",
	"edge-addr", "edge-hosts", "edge-allow", "edge-remove-headers", "edge-cert-file", "edge-key-file", "edge-acme-cache", "edge-acme-email", "edge-acme-directory",
}

// configSource decides which source is meant. A flag beats the environment, and of
// the environment CONNECT_PROXY_ID wins: the agent sets it itself, while
// CONNECT_SIDECAR_FOR can only have been inherited.
func (o *options) configSource(fs *flag.FlagSet, env lookupEnv) (configSource, []string) {
	sources := flagsSet(fs, "proxy-id", "sidecar-for", "config-file", "service")
	if len(sources) > 1 {
		return configSource{}, []string{strings.Join(sources, " and ") + " exclude each other: each says by itself what to run"}
	}
	managedID := env("CONNECT_PROXY_ID")
	switch {
	case o.proxyID != "" && o.proxyID == managedID:
		return configSource{mode: config.Managed, proxyID: o.proxyID, by: "-proxy-id"}, nil
	case o.proxyID != "":
		return configSource{mode: config.Registered, proxyID: o.proxyID, by: "-proxy-id"}, nil
	case o.sidecarFor != "":
		return configSource{mode: config.Registered, sidecarFor: o.sidecarFor, by: "-sidecar-for"}, nil
	case o.configFile != "":
		return configSource{mode: config.File, by: "-config-file"}, nil
	case o.service != "":
		return configSource{mode: config.Flags, by: "-service"}, nil
	case o.serverName != "":
		return configSource{mode: config.Flags, by: "-server-name"}, nil
	case len(sources) == 1:
		return configSource{}, []string{sources[0] + " is empty: give it a value"}
	case managedID != "":
		return configSource{mode: config.Managed, proxyID: managedID, by: "CONNECT_PROXY_ID"}, nil
	case env("CONNECT_SIDECAR_FOR") != "":
		return configSource{mode: config.Registered, sidecarFor: env("CONNECT_SIDECAR_FOR"), by: "CONNECT_SIDECAR_FOR"}, nil
	}
	if orphans := flagsSet(fs, serviceFlags...); len(orphans) > 0 {
		return configSource{}, []string{strings.Join(orphans, ", ") + " without -service: name the service that the proxy represents"}
	}
	return configSource{}, []string{"nothing says what to run: give one of -proxy-id, -sidecar-for, -config-file or -service"}
}

const registerIDAlone = "-register-id without -register: give both"

// unusableFlags names flags that the source in use gives no meaning to: to ignore
// them would leave a port closed that its owner believes open.
func (o *options) unusableFlags(fs *flag.FlagSet, from configSource) []string {
	var problems []string
	if from.mode != config.Flags {
		for _, name := range flagsSet(fs, serviceFlags...) {
			problems = append(problems, fmt.Sprintf("%s and %s exclude each other: %s goes with -service", name, from.by, name))
		}
	}
	if o.register && from.mode != config.Flags && from.mode != config.File {
		problems = append(problems, fmt.Sprintf("-register and %s exclude each other: that proxy is registered already", from.by))
	}
	if o.registerID != "" && !o.register && o.serverName == "" && from.mode != config.File {
		problems = append(problems, registerIDAlone)
	}
	return problems
}

// source is where the configurations come from from now on.
func (p *plan) source() config.Source {
	switch p.from.mode {
	case config.Flags:
		return &config.Static{Config: p.static}
	case config.File:
		return config.NewFile(p.options.configFile, p.logger.Named("config"))
	}
	var override func(*config.Config)
	if p.nomad {
		override = withinKillTimeout
	}
	return config.NewAgent(config.AgentOptions{
		Override:   override,
		Client:     p.client.Client,
		Address:    p.agent.Address,
		ProxyID:    p.from.proxyID,
		SidecarFor: p.from.sidecarFor,
		Managed:    p.from.mode == config.Managed,
		Logger:     p.logger.Named("config"),
	})
}

// drain is -drain-timeout; 0 leaves it to the configuration.
func (o *options) drain() (time.Duration, []string) {
	if o.drainTimeout == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(o.drainTimeout)
	if err != nil || d <= 0 {
		return 0, []string{fmt.Sprintf("-drain-timeout: %s: give a positive duration with its unit, as 30s", o.drainTimeout)}
	}
	return d, nil
}

// tls is what flags and environment say of TLS; what is empty is left to the
// configuration.
func (o *options) tls(env lookupEnv) (config.TLS, []string) {
	t := config.TLS{
		Records:     config.TLSRecords(cmp.Or(o.tlsRecords, env("CONNECT_PROXY_TLS_RECORDS"))),
		KeyExchange: config.TLSKeyExchange(cmp.Or(o.tlsKeyExchange, env("CONNECT_PROXY_TLS_KEY_EXCHANGE"))),
	}
	var problems []string
	for _, m := range t.Validate() {
		problems = append(problems, strings.NewReplacer(
			"tls_records", "-tls-records", "tls_key_exchange", "-tls-key-exchange").Replace(m.String()))
	}
	return t, problems
}

// accessLogConnections is what the flag and its variable say of the access log.
func (o *options) accessLogConnections(env lookupEnv) (config.AccessLogConnections, []string) {
	c := config.AccessLogConnections(cmp.Or(o.accessLog, env("CONNECT_PROXY_ACCESS_LOG")))
	var problems []string
	for _, m := range c.Validate() {
		problems = append(problems, strings.Replace(m.String(), "access_log", "-access-log", 1))
	}
	return c, problems
}

// missing is what flags need of each other.
func (o *options) missing() (problems []string) {
	local := cmp.Or(o.serviceAddr, o.serverAddress)
	add := func(text string) { problems = append(problems, text) }
	switch {
	case o.serverName == "" && (o.serverAddress != "" || o.healthCheckURL != ""):
		add("-server-address or -healthcheck-url without -server-name: name the service as which the application is registered")
	case o.serverName != "" && o.listen == "":
		add("-server-name without -listen: say where connections from the mesh are accepted")
	case o.serverName != "" && o.microEvents:
		add("-server-name and -micro-receive-events exclude each other: what comes at -listen goes to one of them")
	case o.listen != "" && local == "" && !o.microEvents:
		add("-listen without -service-addr: say where the service itself listens")
	case local != "" && o.microEvents:
		add("-service-addr and -micro-receive-events exclude each other: what comes at -listen goes to one of them")
	case o.listen == "" && local != "":
		add("-service-addr without -listen: say where connections from the mesh are accepted")
	case o.listen == "" && o.register:
		add("-register without -listen: there is no public listener to register")
	case o.listen == "" && len(o.upstreams) == 0 && o.byNameAddr == "" && o.microAddr == "" && o.edgeAddr == "":
		add("-service without -listen, -upstream, -by-name-addr, -micro-addr or -edge-addr: there is nothing to do")
	}
	switch {
	case o.byNameAddr == "" && (len(o.byNameAllow) > 0 || o.byNameRemote):
		add("-by-name-allow or -by-name-remote-clients without -by-name-addr: say where applications connect")
	case o.byNameAddr != "" && len(o.byNameAllow) == 0:
		add("-by-name-addr without -by-name-allow: name the services that applications may ask for, or * for all")
	}
	switch {
	case o.microAddr == "" && (len(o.microAllow) > 0 || len(o.microRegister) > 0 || o.microRemote || len(o.microTopics) > 0 || o.microEvents):
		add("-micro-allow, -micro-register, -micro-remote-clients, -micro-topics or -micro-receive-events without -micro-addr: say where applications connect")
	case o.microAddr != "" && len(o.microAllow) == 0 && len(o.microTopics) == 0:
		add("-micro-addr without -micro-allow or -micro-topics: name the services that applications may call, or * for all")
	}
	return problems
}

// flagConfig is the configuration that the flags alone describe, or every
// mistake in them.
func (o *options) flagConfig(s agent.Options) (*config.Config, []string) {
	problems := o.missing()
	cfg := config.Config{Mode: config.Flags, Service: cmp.Or(o.service, o.serverName), Namespace: s.Namespace, Partition: s.Partition}
	problems = append(problems, o.edge(&cfg)...)
	if o.byNameAddr != "" {
		cfg.ByName = &config.ByName{RemoteClients: o.byNameRemote, Allow: o.byNameAllow.split()}
		problems = append(problems, parseInto(&cfg.ByName.Bind, "-by-name-addr", o.byNameAddr)...)
	}
	if o.microAddr != "" || o.serverName != "" {
		cfg.Micro = &config.Micro{
			RemoteClients: o.microRemote, Allow: append([]string{}, o.microAllow.split()...), Register: o.microRegister.split(),
			Topics: o.microTopics.split(), ReceiveEvents: o.microEvents,
			Server: config.MicroServer{Name: o.serverName, HealthCheckURL: o.healthCheckURL},
		}
		problems = append(problems, parseInto(&cfg.Micro.Bind, "-micro-addr", o.microAddr)...)
		problems = append(problems, parseInto(&cfg.Micro.Server.Address, "-server-address", o.serverAddress)...)
	}
	if o.listen != "" {
		cfg.Public = &config.Public{}
		problems = append(problems, parseInto(&cfg.Public.Bind, "-listen", o.listen)...)
	}
	if cfg.Public != nil && o.serviceAddr != "" {
		problems = append(problems, parseInto(&cfg.Public.Local, "-service-addr", o.serviceAddr)...)
	}
	for _, text := range o.upstreams {
		u, err := config.ParseUpstream(text)
		if err != nil {
			problems = append(problems, fmt.Sprintf("-upstream %s", err))
			continue
		}
		cfg.Upstreams = append(cfg.Upstreams, u)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	cfg = cfg.WithDefaults()
	for _, m := range cfg.Validate() {
		problems = append(problems, o.inFlags(m.String()))
	}
	return &cfg, problems
}

var upstreamField = regexp.MustCompile(`upstreams\[(\d+)\](?:\.\w+)*`)

// inFlags speaks of flags where a mistake speaks of the settings of a file.
func (o *options) inFlags(mistake string) string {
	mistake = upstreamField.ReplaceAllStringFunc(mistake, func(field string) string {
		i, err := strconv.Atoi(upstreamField.FindStringSubmatch(field)[1])
		if err != nil || i >= len(o.upstreams) {
			return field
		}
		return "-upstream " + o.upstreams[i]
	})
	remote := "add -by-name-remote-clients"
	if strings.Contains(mistake, "micro.") {
		remote = "add -micro-remote-clients"
	}
	return strings.NewReplacer(
		"public_listener.local_service_address", "-service-addr",
		"public_listener.bind_address", "-listen",
		"public_listener.bind_port", "-listen",
		"public_listener.bind_socket_path", "-listen",
		"by_name.bind_address", "-by-name-addr",
		"by_name.bind_port", "-by-name-addr",
		"by_name.bind_socket_path", "-by-name-addr",
		"by_name.allow", "-by-name-allow",
		"set remote_clients = true", remote,
		"micro.bind_address", "-micro-addr",
		"micro.bind_port", "-micro-addr",
		"micro.bind_socket_path", "-micro-addr",
		"micro.allow", "-micro-allow",
		"micro.register", "-micro-register",
		"micro.topics", "-micro-topics",
		"micro.receive_events", "-micro-receive-events",
		"micro.server_name", "-server-name",
		"micro.server_address", "-server-address",
		"micro.healthcheck_url", "-healthcheck-url",
		"service_name", "-service",
	).Replace(edgeFlags.Replace(mistake))
}

// parseInto reads an address flag into to. An empty one says nothing.
func parseInto(to *config.Address, name, text string) []string {
	if text == "" {
		return nil
	}
	a, err := config.ParseAddress(text)
	if err != nil {
		return []string{fmt.Sprintf("%s %s", name, err)}
	}
	*to = a
	return nil
}
