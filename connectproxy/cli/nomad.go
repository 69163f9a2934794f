package cli

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/config"
	"connect-proxy/connectproxy/regularfile"
)

// nomadDrain is how long a proxy in a Nomad allocation waits for its connections
// unless told otherwise: Nomad kills a task 5 s after it has asked it to stop,
// unless the job has a kill_timeout of its own.
const nomadDrain = 4 * time.Second

// underNomad reports whether Nomad has started the proxy, as a task of an
// allocation.
func underNomad(env lookupEnv) bool { return env("NOMAD_ALLOC_ID") != "" }

// withinKillTimeout gives a configuration that says nothing of the drain one that
// Nomad leaves it time for.
func withinKillTimeout(c *config.Config) {
	if c.DrainTimeout == 0 {
		c.DrainTimeout = nomadDrain
	}
}

// nomadToken is the file with the token that Nomad has got for the task: by
// workload identity, or by the older way of its own service identity tokens.
// Empty if there is none. A token that Nomad has put into the environment too is
// the file's: only a file is read again.
func nomadToken(env lookupEnv, token string) string {
	dir := env("NOMAD_SECRETS_DIR")
	if dir == "" {
		return ""
	}
	for _, name := range []string{"consul_token", "si_token"} {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if text, _ := regularfile.Read(file, regularfile.Small); token == "" || token == strings.TrimSpace(string(text)) {
			return file // where it cannot be read, that is said by whoever uses it
		}
	}
	return ""
}

// envoyAddresses are the variables, by what they begin with, in which Nomad tells a
// sidecar's task where its Envoy would serve its admin pages and its readiness:
// the service's name follows.
var envoyAddresses = []string{"NOMAD_ENVOY_ADMIN_ADDR_", "NOMAD_ENVOY_READY_ADDR_"}

// readyAlone are the addresses besides that of the admin pages on which somebody
// may wait for the proxy to be ready.
func (p *plan) readyAlone(adminAddr string) []string {
	if !p.nomad {
		return nil
	}
	if p.drain > nomadDrain {
		p.logger.Info("the drain needs a kill_timeout of the job's task that is longer, or Nomad cuts it short", "drain_timeout", p.drain.String())
	}
	return nomadReady(os.Environ(), adminAddr, p.logger)
}

// nomadReady are the addresses on which a task of the job may wait for its sidecar
// to be ready, except that of the admin pages. One that cannot be one is said.
func nomadReady(environ []string, adminAddr string, logger hclog.Logger) []string {
	var addresses []string
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, address, _ := strings.Cut(variable, "=")
		ours := slices.ContainsFunc(envoyAddresses, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if !ours || address == adminAddr || slices.Contains(addresses, address) {
			continue
		}
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			logger.Warn("readiness is not served there: it is no loopback address with a port", "variable", name, "address", address)
			continue
		}
		addresses = append(addresses, address)
	}
	return addresses
}
