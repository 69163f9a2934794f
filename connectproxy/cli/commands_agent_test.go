package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/connectproxy/agenttest"
)

// tool runs a command that asks something.
func tool(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// expect runs a command and looks for parts of its output.
func expect(t *testing.T, want int, args []string, parts ...string) string {
	t.Helper()
	code, stdout, stderr := tool(t, args...)
	if code != want {
		t.Errorf("%q: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stdout+stderr, part) {
			t.Errorf("%q does not say %q:\n%s%s", args, part, stdout, stderr)
		}
	}
	return stdout
}

func TestTheCommandsShowAndMendARealMesh(t *testing.T) {
	agenttest.SkipShort(t)
	e := freePorts(t)
	a := agenttest.Modern(t, agenttest.Options{HCL: []string{hcl(t, "registered", e)}})
	dir := t.TempDir()
	web, apis := "unix:"+filepath.Join(dir, "w.sock"), "unix:"+filepath.Join(dir, "a.sock")
	agentAt := []string{"-http-addr", a.HTTPAddr}

	// The agent tells its server of what it has registered when it finds time to.
	agenttest.Eventually(t, soon, func() error {
		if _, out, _ := tool(t, append([]string{"explain", "-to", "api", "-from", "web"}, agentAt...)...); strings.Contains(out, "is registered") {
			return errors.New(out)
		}
		return nil
	})
	expect(t, exitFailed, append([]string{"explain", "-to", "api", "-from", "web"}, agentAt...),
		"✓ the agent at", "✓ leaf spiffe://", "✓ web may call api", "× 1 are registered and none is healthy", "web cannot reach api")
	code, _, stderr := tool(t, "check", "-admin-addr", web)
	if code != exitFailed || !strings.Contains(stderr, "asking the proxy at "+web) {
		t.Errorf("check without a proxy: %d %s", code, stderr)
	}

	// The application holds its connections open.
	ln, err := net.Listen("tcp", "127.0.0.1:"+e["8081"])
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go echo(ln)
	called := launch(t, a, "", "", "-sidecar-for", "api", "-admin-addr", apis)
	launch(t, a, "", "", "-sidecar-for", "web", "-admin-addr", web)
	expect(t, exitDrained, []string{"check", "-wait", "30s", "-admin-addr", apis}, "✓ api serves")
	watch := follow(t, "-admin-addr", apis)
	watchJSON := follow(t, "-o", "json", "-admin-addr", apis)
	expect(t, exitDrained, []string{"check", "-wait", "30s", "-admin-addr", web}, "✓ web serves", "✓ the agent at", "api on 127.0.0.1:"+e["9191"])
	var conn net.Conn
	agenttest.Eventually(t, soon, func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+e["9191"])
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(soon))
		if _, err = c.Write([]byte("hello")); err == nil {
			_, err = c.Read(make([]byte, 5))
		}
		if err != nil {
			c.Close()
			return err
		}
		conn = c
		return nil
	})
	defer conn.Close()

	expect(t, exitDrained, append([]string{"explain", "-to", "api", "-from", "web"}, agentAt...), "proved to be api", "web can reach api")
	called.WaitOutput(soon, "connection closed: listener=public reason=closed")
	if strings.Contains(called.Output.String(), "client_reset") {
		t.Errorf("explain has cut its connection:\n%s", called.Output)
	}
	expect(t, exitDrained, []string{"status", "-admin-addr", web}, "web is ready", "DESTINATION", "in use", "root, active")
	expect(t, exitDrained, []string{"status", "config", "-admin-addr", web}, "connect_timeout_ms", "2000", "registration web-sidecar-proxy", "default")
	agenttest.Eventually(t, soon, func() error { // a turn's bytes are counted after it
		if _, out, _ := tool(t, "connections", "-admin-addr", apis); !strings.Contains(out, "5 B") || !strings.Contains(out, "web") {
			return errors.New(out)
		}
		return nil
	})
	watch.WaitOutput(soon, "web to api, client 127.0.0.1:")
	watchJSON.WaitOutput(soon, `{"event":"open",`)
	for _, args := range [][]string{
		{"check"}, {"status"}, {"status", "upstreams"}, {"status", "listeners"}, {"status", "certificates"}, {"status", "intentions"},
		{"status", "config"}, {"connections"}, {"top"}, {"loglevel"},
	} {
		if out := expect(t, exitDrained, append(args, "-o", "json", "-admin-addr", apis)); !json.Valid([]byte(out)) || len(out) < 3 {
			t.Errorf("%q is no JSON: %s", args, out)
		}
	}
	expect(t, exitDrained, []string{"status", "intentions", "-admin-addr", apis}, "web", "allowed")
	expect(t, exitDrained, []string{"top", "-admin-addr", apis}, "THERE/S", "inbound")
	expect(t, exitDrained, []string{"loglevel", "-admin-addr", web}, "info")
	expect(t, exitDrained, []string{"loglevel", "debug", "-admin-addr", web}, "debug")
	expect(t, exitFailed, []string{"loglevel", "loud", "-admin-addr", web}, "give one of trace")

	var list adminapi.Connections
	out := expect(t, exitDrained, []string{"connections", "-o", "json", "-admin-addr", web})
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Connections) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	expect(t, exitDrained, []string{"connections", "close", fmt.Sprint(list.Connections[0].ID), "-admin-addr", web}, "was cut")
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	watch.WaitOutput(soon, " end ")
	watchJSON.WaitOutput(soon, `{"event":"end",`)
	for line := range strings.Lines(watchJSON.Stdout.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	watch.Signal(os.Interrupt)
	if code := watch.Wait(soon); code != exitDrained {
		t.Errorf("exit code %d of -watch at Ctrl-C", code)
	}
	expect(t, exitFailed, []string{"connections", "close", fmt.Sprint(list.Connections[0].ID), "-admin-addr", web}, "it has ended")

	ln.Close()
	says := []string{"the instance cannot serve: its application is down", "dial_failed is its application"}
	if os.Getenv("CONNECT_PROXY_TLS_RECORDS") == "crypto/tls" { // which can send no alert
		says = []string{"cut the connection at once", "the log of its proxy says why"}
	}
	expect(t, exitFailed, append([]string{"explain", "-to", "api", "-from", "web"}, agentAt...),
		append(says, "× none of 1 can be reached", "web cannot reach api")...)
	called.WaitOutput(soon, "reason=dial_failed")

	a.Intention("web", "api", "deny")
	expect(t, exitFailed, append([]string{"explain", "-to", "api", "-from", "web"}, agentAt...),
		"× web may not call api", "-> consul intention create -allow web api")
	var explained struct {
		Reachable bool      `json:"reachable"`
		Findings  []finding `json:"findings"`
	}
	_, out, _ = tool(t, append([]string{"explain", "-to", "api", "-from", "web", "-o", "json"}, agentAt...)...)
	if err := json.Unmarshal([]byte(out), &explained); err != nil || explained.Reachable || len(explained.Findings) == 0 {
		t.Errorf("%v: %s", err, out)
	}
	agenttest.Eventually(t, soon, func() error { // a refusal is an event of the side that refuses
		if c, err := net.Dial("tcp", "127.0.0.1:"+e["9191"]); err == nil {
			c.Close()
		}
		if _, out, _ := tool(t, "status", "intentions", "-admin-addr", apis); !strings.Contains(out, "denied") {
			return errors.New(out)
		}
		return nil
	})
	out = expect(t, exitFailed, []string{"explain", "-to", "nobody", "-from", "web", "-http-addr", a.HTTPAddr}, "× no service of the name nobody is registered")
	if strings.Contains(out, "intention") {
		t.Errorf("intentions are told about a service that nobody has:\n%s", out)
	}
	expect(t, exitFailed, []string{"explain", "-to", "api", "-from", "web", "-http-addr", "127.0.0.1:1"}, "× the agent at", "cannot be asked")
}

// follow runs connections -watch.
func follow(t *testing.T, args ...string) *agenttest.Process {
	t.Helper()
	return agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: self(t), Env: []string{asProgram + "=1"}, Args: append([]string{"connections", "-watch"}, args...),
	})
}

// echo answers what it gets until its listener is closed.
func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 1024)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}
