package cli

import (
	"cmp"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agent"
)

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

func (a *agentFlags) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.httpAddr, "http-addr", "",
		"`Address` of the agent's HTTP API, as 127.0.0.1:8500, https://host:8501 or unix:///path. "+
			"Default: http://127.0.0.1:8500. Environment: CONSUL_HTTP_ADDR.")
	fs.StringVar(&a.token, "token", "",
		"ACL `token`; a file or the environment keeps it out of the process list. "+
			"Environment: CONNECT_PROXY_TOKEN, then CONSUL_HTTP_TOKEN.")
	fs.StringVar(&a.tokenFile, "token-file", "",
		"`File` with the ACL token; takes precedence over -token and is read again for each request, so that a token can be replaced. "+
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

// settings weighs each flag against its variable. The result does not depend on
// what consul/api would read from the environment itself: there an empty or
// misspelt CONSUL_HTTP_SSL_VERIFY turns verification off, and an inherited
// CONSUL_HTTP_TOKEN_FILE beats the token that the agent made for this proxy.
func (a *agentFlags) settings(env lookupEnv) (agent.Options, []string) {
	address, err := agent.ParseAddress(cmp.Or(a.httpAddr, env("CONSUL_HTTP_ADDR"), agent.DefaultAddress))
	s := agent.Options{
		Address:   address,
		Namespace: cmp.Or(a.namespace, env("CONSUL_NAMESPACE")),
		Partition: cmp.Or(a.partition, env("CONSUL_PARTITION")),
		TLS: api.TLSConfig{
			Address:  cmp.Or(a.tlsServerName, env("CONSUL_TLS_SERVER_NAME")),
			CAFile:   cmp.Or(a.caFile, env("CONSUL_CACERT")),
			CAPath:   cmp.Or(a.caPath, env("CONSUL_CAPATH")),
			CertFile: cmp.Or(a.clientCert, env("CONSUL_CLIENT_CERT")),
			KeyFile:  cmp.Or(a.clientKey, env("CONSUL_CLIENT_KEY")),
		},
	}
	s.Token, s.TokenFile = a.tokens(env)
	s.Token = strings.TrimSpace(s.Token) // of the end of the file that a shell put in here
	if user, password, _ := strings.Cut(env("CONSUL_HTTP_AUTH"), ":"); user != "" || password != "" {
		s.Auth = &api.HttpBasicAuth{Username: user, Password: password}
	}
	var problems []string
	if !agent.IsToken(s.Token) {
		problems = append(problems, "-token (CONNECT_PROXY_TOKEN, CONSUL_HTTP_TOKEN): not a token: it has characters that no token has, such as spaces")
	}
	ssl, more := boolean(env, "CONSUL_HTTP_SSL", false)
	problems = append(problems, more...)
	verify, more := boolean(env, "CONSUL_HTTP_SSL_VERIFY", true)
	s.TLS.InsecureSkipVerify = !verify
	problems = append(problems, more...)
	if (s.TLS.CertFile == "") != (s.TLS.KeyFile == "") {
		problems = append(problems, "-client-cert and -client-key (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY) belong together: give both or neither")
	}
	s.HTTPS = ssl || strings.HasPrefix(address, "https://")
	if err != nil {
		problems = append(problems, "-http-addr (CONSUL_HTTP_ADDR): "+err.Error())
	}
	return s, problems
}

// tokens gives the token and the file that beats it, which has no say while it
// is empty, as with Consul's own commands. The agent hands its own environment
// down to the proxies it launches, so the token that it made for this one,
// CONNECT_PROXY_TOKEN, comes before any CONSUL_HTTP_*.
func (a *agentFlags) tokens(env lookupEnv) (token, file string) {
	token = cmp.Or(a.token, env("CONNECT_PROXY_TOKEN"))
	inherited := env("CONSUL_HTTP_TOKEN")
	switch {
	case a.tokenFile != "":
		file = a.tokenFile
	case token == "":
		file = cmp.Or(env("CONSUL_HTTP_TOKEN_FILE"), nomadToken(env, inherited))
	}
	return cmp.Or(token, inherited), file
}

// boolean reads a variable of strconv.ParseBool's spellings.
func boolean(env lookupEnv, name string, unset bool) (bool, []string) {
	text := env(name)
	if text == "" {
		return unset, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return unset, []string{fmt.Sprintf("%s=%s: set it to true or false", name, text)}
	}
	return v, nil
}
