package cli

import (
	"flag"
	"fmt"
	"strings"
)

const helpHead = `Usage: connect-proxy [flags]
       connect-proxy dev
       connect-proxy run [flags] -- COMMAND [ARGUMENTS]
       connect-proxy tls-client|tls-server -src ADDRESS -dst ADDRESS -tlscertpath DIRECTORY
       connect-proxy tunnel -src ADDRESS -dst ADDRESS
       connect-proxy tls-client|tunnel -src ADDRESS -srv PREFIX -dsc URL ("make build-etcd")
       connect-proxy check|status|connections|top|loglevel [-admin-addr ADDRESS]
       connect-proxy explain -to SERVICE -from SERVICE
       connect-proxy validate FILE...
       connect-proxy completion bash|zsh|fish
       connect-proxy version

  Runs a sidecar for Consul Connect until SIGINT or SIGTERM: a public mTLS
  listener in front of one service, and a local listener for each upstream.
  Leaf certificate, roots, endpoints and intentions come from the local agent.

  "connect-proxy dev" needs no agent: it runs a mesh to try on this machine.

Examples

  Managed: a Consul 1.2-1.5 agent launches the proxy by itself. In the service's
  definition:

    connect { proxy { command = ["/usr/local/bin/connect-proxy"] } }

  Registered: the configuration is in the agent, under the proxy's own ID or as
  the one sidecar of a service instance:

    $ connect-proxy -proxy-id web-sidecar-proxy
    $ connect-proxy -sidecar-for web

  File: read again when its content changes.

    $ connect-proxy -config-file /etc/connect-proxy/web.hcl
    $ connect-proxy validate /etc/connect-proxy/web.hcl

  Flags alone: reach db on 127.0.0.1:8181 as the service frontend, and through a
  prepared query on 8182.

    $ connect-proxy -service frontend -upstream db:8181 -upstream nearest-db.query:8182

  Flags alone, with a public listener that registers itself:

    $ connect-proxy -service web -service-addr 127.0.0.1:8080 -listen :8443 -register

  Beside a running proxy; each command has help of its own by -help:

    $ connect-proxy check
    $ connect-proxy explain -to db -from web
`

const helpTail = `
Environment

  CONNECT_PROXY_ID, CONNECT_PROXY_TOKEN, CONNECT_SIDECAR_FOR,
  CONNECT_PROXY_TLS_RECORDS, CONNECT_PROXY_TLS_KEY_EXCHANGE,
  CONNECT_PROXY_ACCESS_LOG, CONNECT_PROXY_ADMIN, and CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN,
  CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_AUTH, CONSUL_HTTP_SSL,
  CONSUL_HTTP_SSL_VERIFY, CONSUL_CACERT, CONSUL_CAPATH, CONSUL_CLIENT_CERT,
  CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME, CONSUL_NAMESPACE, CONSUL_PARTITION.
  An empty value counts as unset. A flag takes precedence over its variable.

Exit codes

  0  asked to stop, and stopped
  1  failed while running, or cut short by a second signal
  2  wrong usage or invalid configuration`

// helpText is what -help prints: what the program is for, one example of each
// mode, every flag.
func helpText() string {
	var b strings.Builder
	b.WriteString(helpHead)
	fs := new(options).flagSet()
	for _, g := range flagGroups {
		fmt.Fprintf(&b, "\n%s\n", g.title)
		for _, name := range g.names {
			writeFlag(&b, fs.Lookup(name))
		}
	}
	b.WriteString(helpTail)
	return b.String()
}

func writeFlag(b *strings.Builder, f *flag.Flag) {
	arg, text := flag.UnquoteUsage(f)
	fmt.Fprintf(b, "\n  -%s", f.Name)
	if arg != "" {
		b.WriteString(" " + strings.ToUpper(arg))
	}
	b.WriteString("\n")
	for _, line := range wrap(text+defaultText(f), 72) {
		b.WriteString("      " + line + "\n")
	}
}

// defaultText says what a flag is by default, unless that is nothing.
func defaultText(f *flag.Flag) string {
	switch f.DefValue {
	case "", "false", "0s":
		return ""
	}
	return " Default: " + f.DefValue + "."
}

// wrap breaks text into lines of at most width bytes, at spaces.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
