//go:build unix

package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// replaced are arguments with other words in them, each of which must be there.
func replaced(t *testing.T, args []string, words ...string) []string {
	t.Helper()
	all := strings.Join(args, "\x00")
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(all, words[i]) {
			t.Fatalf("%q is not in %q", words[i], args)
		}
	}
	return strings.Split(strings.NewReplacer(words...).Replace(all), "\x00")
}

// An engine that would start them is not needed for what they start.
func TestTheProxiesOfTheComposeFileMakeAMeshAsTheyAreStarted(t *testing.T) {
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the api") })}
	go func() { _ = server.Serve(app) }()
	t.Cleanup(func() { server.Close() })
	agent, port := startDevAgent(t), agenttest.FreePorts(t, 2)
	commands := composeArgs(t)
	for _, args := range [][]string{
		replaced(t, commands[0], "127.0.0.1:8080", app.Addr().String(), "api:20000", fmt.Sprintf("localhost:%d", port)),
		replaced(t, commands[1], "api:8181", fmt.Sprintf("api:%d", port+1)),
	} {
		agenttest.StartProcess(t, agenttest.ProcessOptions{
			Path: self(t), Args: args, Env: []string{asProgram + "=1", "CONSUL_HTTP_ADDR=" + agent, "TMPDIR=" + socketDir(t), "XDG_RUNTIME_DIR="},
		})
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	agenttest.Eventually(t, soon, func() error {
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port+1))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); string(text) != "the api" {
			return fmt.Errorf("answered %q, %w", text, err)
		}
		return nil
	})
}

// With nothing to write to but the directory that the pod mounts.
func TestTheProxyOfThePodRegistersItselfAndPassesItsProbe(t *testing.T) {
	agent, port, dir := startDevAgent(t), agenttest.FreePorts(t, 2), socketDir(t)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "secret\n")
	env := []string{asProgram + "=1", "CONSUL_HTTP_ADDR=http://" + agent, "CONSUL_HTTP_TOKEN_FILE=" + token,
		"RUNTIME_DIRECTORY=" + dir, "TMPDIR=/nowhere"} // where the test is root's, XDG_RUNTIME_DIR comes after /run
	pod := example(t, "kubernetes/web.yaml")
	for _, name := range []string{"CONSUL_HTTP_ADDR", "CONSUL_HTTP_TOKEN_FILE", "XDG_RUNTIME_DIR", "command: [/connect-proxy, check]"} {
		if !strings.Contains(pod, name) {
			t.Errorf("the pod has no %s", name)
		}
	}
	args := replaced(t, kubernetesArgs(t, "127.0.0.1", "web-0"), ":20000", fmt.Sprintf(":%d", port), "db:8181", fmt.Sprintf("db:%d", port+1))
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{Path: self(t), Args: args, Env: env})
	probe := agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: self(t), Env: env, Args: []string{"check", "-wait", "30s", "-admin-addr", "unix:" + filepath.Join(dir, "web.sock")},
	})
	if code := probe.Wait(40 * time.Second); code != exitDrained {
		t.Errorf("the probe ends with %d: %s", code, probe.Output)
	}
	resp, err := http.Get("http://" + agent + "/v1/agent/service/web-proxy-web-0")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the agent says %s of it", resp.Status)
	}
	if strings.Contains(p.Output.String(), "secret") {
		t.Error("the token is in the log")
	}
}
