package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// proxyPid is what the agent wrote down of a proxy that it launched.
func (m *mesh) proxyPid(id string) (string, error) {
	text, err := os.ReadFile(filepath.Join(m.dir, "pids", id+".pid"))
	if err != nil {
		return "", fmt.Errorf("looking for the process of %s: %w", id, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// cleanUp ends everything that was started, in the opposite order, and removes
// the directory. It works after any step.
func (m *mesh) cleanUp() error {
	var errs []error
	if m.agent != nil {
		m.out.begin("Stopping the agent and with it its proxies, removing %s", m.dir)
		errs = append(errs, m.agent.stop())
		m.killLeftovers()
	}
	for _, s := range []*application{m.web, m.api} {
		if s != nil {
			s.close()
		}
	}
	if err := os.RemoveAll(m.dir); err != nil {
		errs = append(errs, fmt.Errorf("removing the temporary directory: %w", err))
	}
	return errors.Join(errs...)
}

// killLeftovers kills proxies that outlived their agent: it removes the pid file
// of each that it has stopped.
func (m *mesh) killLeftovers() {
	files, _ := filepath.Glob(filepath.Join(m.dir, "pids", "*.pid"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || pid <= 1 {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill() // it may have ended
		}
	}
}

// explain shows the ends of the logs behind an error, before they are removed.
func (m *mesh) explain(err error) error {
	files := []string{filepath.Join(m.dir, "agent.log"), m.logFile("api-proxy"), m.logFile("web-proxy")}
	for _, file := range files {
		text, readErr := os.ReadFile(file)
		if readErr != nil || len(text) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		m.out.printf("the end of %s:\n%s", filepath.Base(file), strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return err
}

// withoutConsul leaves out what would configure the agent's proxies behind the
// demo's back.
func withoutConsul(env []string) []string {
	var kept []string
	for _, kv := range env {
		if !strings.HasPrefix(kv, "CONSUL_") && !strings.HasPrefix(kv, "CONNECT_") {
			kept = append(kept, kv)
		}
	}
	return kept
}
