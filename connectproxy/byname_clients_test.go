package connectproxy

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
)

func TestRealProgramsReachServicesByNetcat(t *testing.T) {
	agenttest.Netcat(t)
	agent := fakeagent.New(t, fakeagent.Options{})
	byName := agenttest.FreePort(t)
	startEngine(t, agent, byNameAt("web", byName, "redis", "git")).ready()
	through := at(byName)

	t.Run("redis", func(t *testing.T) {
		port := agenttest.FreePorts(t, 2)
		serveProgram(t, port, "redis-server", "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--appendonly", "no", "--dir", t.TempDir())
		startEngine(t, agent, serving("redis", port+1, at(port))).ready()
		agent.Instance("redis", port+1)
		openThrough(t, byName, "redis").Close()
		for _, protocol := range []string{"5", "connect"} {
			agenttest.ProgramSays(t, "+PONG\r\n$5\r\nhello\r\n+OK", nil, "PING\r\nECHO hello\r\nQUIT\r\n", "nc", "-X", protocol, "-x", through, "redis", "6379")
		}
		t.Run("by a wrapper of SOCKS", func(t *testing.T) {
			agenttest.Program(t, "proxychains4")
			conf := filepath.Join(t.TempDir(), "proxychains.conf")
			text := fmt.Sprintf("strict_chain\nproxy_dns\nquiet_mode\n[ProxyList]\nsocks5 127.0.0.1 %d\n", byName)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			agenttest.ProgramSays(t, "PONG", nil, "", "proxychains4", "-q", "-f", conf, agenttest.Program(t, "redis-cli"), "-h", "redis", "ping")
		})
	})
	t.Run("git", func(t *testing.T) {
		dir := t.TempDir()
		agenttest.ProgramSays(t, "", nil, "", "git", "init", "-q", "--bare", filepath.Join(dir, "repo.git"))
		port := agenttest.FreePorts(t, 2)
		serveProgram(t, port, "git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", "--port="+fmt.Sprint(port), "--base-path="+dir, dir)
		startEngine(t, agent, serving("git", port+1, at(port))).ready()
		agent.Instance("git", port+1)
		openThrough(t, byName, "git").Close()
		for _, protocol := range []string{"5", "connect"} {
			command := filepath.Join(dir, "through-"+protocol)
			if err := os.WriteFile(command, []byte("#!/bin/sh\nexec nc -X "+protocol+" -x "+through+" \"$1\" \"$2\"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			agenttest.ProgramSays(t, "", []string{"GIT_PROXY_COMMAND=" + command}, "", "git", "clone", "-q", "git://git/repo.git", filepath.Join(dir, "clone-"+protocol))
			if _, err := os.Stat(filepath.Join(dir, "clone-"+protocol, ".git")); err != nil {
				t.Error(err)
			}
		}
	})
}

// serveProgram runs a server on a port of the loopback until the test ends.
func serveProgram(t *testing.T, port int, name string, args ...string) {
	t.Helper()
	agenttest.StartProcess(t, agenttest.ProcessOptions{Path: agenttest.Program(t, name), Args: args})
	agenttest.Eventually(t, soon, func() error { return listening(port) })
}
