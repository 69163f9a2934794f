package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// agentConfig is a whole agent with both services, as an operator would write
// it. Without data_dir, which -dev makes up for, the agent stops its proxies
// when it ends.
func (m *mesh) agentConfig() string {
	return fmt.Sprintf(`bind_addr = "127.0.0.1"
ports { http = %d  server = %d  serf_lan = %d  serf_wan = %d  dns = -1  grpc = -1 }

connect {
  enabled = true
  proxy { allow_managed_root = true }  # or the agent must not run as root
  proxy_defaults {
    exec_mode      = "daemon"
    daemon_command = [%q, "-log-json"]
  }
}

services {
  name = "api"
  port = %d
  connect { proxy { config { bind_port = %d } } }
}

services {
  name = "web"
  port = %d
  connect {
    proxy {
      config { bind_port = %d }
      upstreams = [{ destination_name = "api", local_bind_port = %d }]
    }
  }
}
`, m.ports.http, m.ports.server, m.ports.serfLAN, m.ports.serfWAN, m.proxy,
		m.api.port, m.ports.apiProxy, m.web.port, m.ports.webProxy, m.ports.upstream)
}

// agent is the running Consul process.
type agent struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// startAgent runs Consul in dir, where it leaves the proxies' logs and pid
// files too.
func startAgent(binary, dir, config string) (*agent, error) {
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	if err != nil {
		return nil, fmt.Errorf("making the agent's log: %w", err)
	}
	a := &agent{cmd: exec.Command(binary, "agent", "-dev", "-config-file", config), log: log, done: make(chan struct{})}
	a.cmd.Dir = dir
	a.cmd.Env = withoutConsul(os.Environ())
	a.cmd.Stdout, a.cmd.Stderr = log, log
	if err := a.cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("starting the agent: %w", err)
	}
	go func() {
		defer close(a.done)
		_ = a.cmd.Wait() // the state says how it ended
	}()
	return a, nil
}

func (a *agent) pid() int { return a.cmd.Process.Pid }

// running is an error once the agent has ended.
func (a *agent) running() error {
	select {
	case <-a.done:
		return fmt.Errorf("the agent has ended: %s; see %s", a.cmd.ProcessState, a.log.Name())
	default:
		return nil
	}
}

// stop asks the agent to end, which first stops the proxies it launched, and
// kills it if it takes too long.
func (a *agent) stop() error {
	defer a.log.Close()
	if err := a.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = a.cmd.Process.Kill()
	}
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-a.done:
		return nil
	case <-timer.C:
		_ = a.cmd.Process.Kill()
		<-a.done
		return errors.New("the agent had to be killed")
	}
}
