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

// It counts what it is asked for as long as it is read from its metrics.
const agentConfig = `
bind_addr = "127.0.0.1"
ports { http = %d  server = %d  serf_lan = %d  serf_wan = %d  dns = -1  grpc = -1  grpc_tls = -1 }
connect { enabled = true }
telemetry { prometheus_retention_time = "1h"  disable_hostname = true }
`

// needAgent starts the agent that pairs share, once.
func (l *Lab) needAgent(ctx context.Context) (err error) {
	if l.agent == nil {
		l.agent, err = l.startAgent(ctx, "agent")
	}
	return err
}

// startAgent starts one and waits until it has a leader. Its limits are its
// defaults.
func (l *Lab) startAgent(ctx context.Context, name string) (*agent, error) {
	binary, err := agentbuild.Path(ctx, agentbuild.Modern, l.out)
	if err != nil {
		return nil, err
	}
	first, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(l.Dir, name+".hcl")
	text := fmt.Sprintf(agentConfig, first, first+1, first+2, first+3)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("writing the agent's configuration: %w", err)
	}
	a := &agent{binary: binary, address: loopback(first)}
	a.client, err = api.NewClient(&api.Config{
		Address:    a.address,
		Scheme:     "http",
		HttpClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the agent's client: %w", err)
	}
	if a.process, err = l.start(name, []string{binary, "agent", "-dev", "-log-level", "warn", "-config-file", file}); err != nil {
		return nil, err
	}
	err = until(ctx, time.Minute, func() error {
		leader, err := a.client.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("there is no leader yet")
		}
		return errors.Join(a.process.running(), err)
	})
	if err != nil {
		a.process.stop()
		return nil, fmt.Errorf("waiting for the agent: %w", err)
	}
	return a, nil
}

// register makes the two services of a pair, each with its sidecar. The names
// are those of the kind, so that one agent serves several pairs.
func (l *Lab) register(name string, s site) error {
	client, server := services(name)
	unused, err := freePorts(1)
	if err != nil {
		return err
	}
	config := map[string]any{}
	if s.named != 0 {
		config["by_name"] = map[string]any{"bind_port": s.named, "allow": []string{"*"}}
		config["micro"] = map[string]any{"bind_port": s.calls, "allow": []string{"*"}}
	}
	for _, one := range []struct {
		name   string
		port   int
		config map[string]any
		ups    []api.Upstream
	}{
		{server, s.between, map[string]any{}, nil},
		{client, unused, config, []api.Upstream{{DestinationName: server, LocalBindAddress: "127.0.0.1", LocalBindPort: s.listen}}},
	} {
		if err := l.agent.register(one.name, portOf(l.app), one.port, one.config, one.ups); err != nil {
			return err
		}
	}
	return nil
}

// register makes a service with a sidecar, at the port that is given, and the
// sidecar's upstreams and settings.
func (a *agent) register(name string, app, port int, config map[string]any, ups []api.Upstream) error {
	config["bind_address"] = "127.0.0.1"
	err := a.client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name:    name,
		Address: "127.0.0.1",
		Port:    app,
		Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Port:    port,
			Address: "127.0.0.1",
			// A pair that starts again need not wait for a check of every
			// ten seconds to notice.
			Checks: api.AgentServiceChecks{{Name: "always", TTL: "24h", Status: api.HealthPassing}},
			Proxy: &api.AgentServiceConnectProxyConfig{
				LocalServiceAddress: "127.0.0.1",
				LocalServicePort:    app,
				Config:              config,
				Upstreams:           ups,
			},
		}},
	})
	if err != nil {
		return fmt.Errorf("registering %s: %w", name, err)
	}
	return nil
}

// services are the names of a pair's two services.
func services(name string) (client, server string) {
	return name + "-client", name + "-server"
}
