//go:build linux

package peer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest/agentbuild"
)

// agent is a Consul agent that is its own server.
type agent struct {
	process *process
	binary  string
	address string
	client  *api.Client
}

func (l *Lab) agentProcess() *process {
	if l.agent == nil {
		return nil
	}
	return l.agent.process
}

const agentConfig = `
bind_addr = "127.0.0.1"
ports { http = %d  server = %d  serf_lan = %d  serf_wan = %d  dns = -1  grpc = -1  grpc_tls = -1 }
connect { enabled = true }
`

// needAgent starts the agent, once, and waits until it has a leader.
func (l *Lab) needAgent(ctx context.Context) error {
	if l.agent != nil {
		return nil
	}
	binary, err := agentbuild.Path(ctx, agentbuild.Modern, l.out)
	if err != nil {
		return err
	}
	first, err := freePorts(4)
	if err != nil {
		return err
	}
	file := filepath.Join(l.Dir, "agent.hcl")
	text := fmt.Sprintf(agentConfig, first, first+1, first+2, first+3)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the agent's configuration: %w", err)
	}
	a := &agent{binary: binary, address: loopback(first)}
	a.client, err = api.NewClient(&api.Config{
		Address:    a.address,
		Scheme:     "http",
		HttpClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second},
	})
	if err != nil {
		return fmt.Errorf("preparing the agent's client: %w", err)
	}
	if a.process, err = l.start("agent", []string{binary, "agent", "-dev", "-log-level", "warn", "-config-file", file}); err != nil {
		return err
	}
	l.agent = a
	err = until(ctx, time.Minute, func() error {
		leader, err := a.client.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("there is no leader yet")
		}
		return errors.Join(a.process.running(), err)
	})
	if err != nil {
		return fmt.Errorf("waiting for the agent: %w", err)
	}
	return nil
}

// register makes the two services of a pair, each with its sidecar. The names
// are those of the kind, so that one agent serves several pairs.
func (l *Lab) register(name string, s site) error {
	client, server := l.services(name)
	unused, err := freePorts(1)
	if err != nil {
		return err
	}
	for _, one := range []struct {
		name string
		port int
		ups  []api.Upstream
	}{
		{server, s.between, nil},
		{client, unused, []api.Upstream{{DestinationName: server, LocalBindAddress: "127.0.0.1", LocalBindPort: s.listen}}},
	} {
		err := l.agent.client.Agent().ServiceRegister(&api.AgentServiceRegistration{
			Name:    one.name,
			Address: "127.0.0.1",
			Port:    portOf(l.app),
			Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
				Port:    one.port,
				Address: "127.0.0.1",
				// A pair that starts again need not wait for a check of every
				// ten seconds to notice.
				Checks: api.AgentServiceChecks{{Name: "always", TTL: "24h", Status: api.HealthPassing}},
				Proxy: &api.AgentServiceConnectProxyConfig{
					LocalServiceAddress: "127.0.0.1",
					LocalServicePort:    portOf(l.app),
					Config:              map[string]any{"bind_address": "127.0.0.1"},
					Upstreams:           one.ups,
				},
			}},
		})
		if err != nil {
			return fmt.Errorf("registering %s: %w", one.name, err)
		}
	}
	return nil
}

// services are the names of a pair's two services.
func (l *Lab) services(name string) (client, server string) {
	return name + "-client", name + "-server"
}
