package devagent

import (
	"cmp"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// leastInterval and defaultTimeout are Consul's.
	leastInterval  = time.Second
	defaultTimeout = 10 * time.Second
	// maxChecksEach is of one registration.
	maxChecksEach = 64
)

// checksIn are the checks of a registration, or what is wrong with them.
func checksIn(reg *api.AgentServiceRegistration) ([]*check, string) {
	all := append(api.AgentServiceChecks(nil), reg.Checks...)
	if reg.Check != nil {
		all = append(api.AgentServiceChecks{reg.Check}, all...)
	}
	if len(all) > maxChecksEach {
		return nil, "there are too many"
	}
	var checks []*check
	for n, d := range all {
		if d == nil {
			continue
		}
		c, problem := checkOf(d)
		if problem != "" {
			return nil, problem
		}
		c.service = reg.ID
		id := "service:" + reg.ID
		if len(all) > 1 {
			id = fmt.Sprintf("%s:%d", id, n+1)
		}
		c.id = cmp.Or(c.id, id)
		c.name = cmp.Or(c.name, fmt.Sprintf("Service '%s' check", reg.Name))
		checks = append(checks, c)
	}
	return checks, ""
}

// checkOf reads one definition.
func checkOf(d *api.AgentServiceCheck) (*check, string) {
	c := &check{id: d.CheckID, name: d.Name, notes: d.Notes, status: cmp.Or(d.Status, critical)}
	if c.status != passing && c.status != warning && c.status != critical {
		return nil, "Status for checks must 'passing', 'warning', 'critical'"
	}
	times := map[string]time.Duration{}
	for name, text := range map[string]string{
		"TTL": d.TTL, "Interval": d.Interval, "Timeout": d.Timeout,
		"DeregisterCriticalServiceAfter": d.DeregisterCriticalServiceAfter,
	} {
		if text == "" {
			continue
		}
		t, err := time.ParseDuration(text)
		if err != nil || t < 0 {
			return nil, fmt.Sprintf("%s: %q is no duration", name, text)
		}
		times[name] = t
	}
	if after := times["DeregisterCriticalServiceAfter"]; after > 0 {
		c.deregister = max(after, leastDeregister)
	}
	interval, ttl := times["Interval"], times["TTL"]
	switch probes := d.TCP != "" || d.HTTP != ""; {
	case len(d.Args) > 0 || d.DockerContainerID != "" || d.GRPC != "" || d.UDP != "" || d.H2PING != "" || d.AliasNode != "":
		return nil, "this agent makes TTL, TCP, HTTP and alias checks alone"
	case interval > 0 && ttl > 0:
		return nil, "Interval and TTL cannot both be specified"
	case probes && interval <= 0:
		return nil, "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
	case probes:
		return c, c.setProbe(d, max(interval, leastInterval), times["Timeout"])
	case d.AliasService != "":
		c.kind, c.alias = "alias", d.AliasService
	case ttl <= 0:
		return nil, "TTL must be > 0 for TTL checks"
	default:
		c.kind, c.ttl = "ttl", ttl
	}
	return c, ""
}

// setProbe makes c a check that the agent makes itself.
func (c *check) setProbe(d *api.AgentServiceCheck, interval, timeout time.Duration) string {
	c.probe = &probe{
		tcp: d.TCP, http: d.HTTP, method: cmp.Or(d.Method, "GET"), header: d.Header,
		interval: interval, timeout: cmp.Or(timeout, defaultTimeout),
	}
	if c.kind = "tcp"; d.HTTP != "" {
		c.kind = "http"
		return ""
	}
	if _, _, err := net.SplitHostPort(d.TCP); err != nil {
		return fmt.Sprintf("TCP: %q is not host:port", d.TCP)
	}
	return ""
}

// sidecarChecks are what an agent gives a sidecar without checks.
func sidecarChecks(s *api.AgentServiceRegistration, parent string) api.AgentServiceChecks {
	host := cmp.Or(s.Address, s.Proxy.LocalServiceAddress, loopback)
	return api.AgentServiceChecks{
		{
			Name:     "Connect Sidecar Listening",
			TCP:      net.JoinHostPort(host, fmt.Sprint(s.Port)),
			Interval: "10s",
		},
		{Name: "Connect Sidecar Aliasing " + parent, AliasService: parent},
	}
}
