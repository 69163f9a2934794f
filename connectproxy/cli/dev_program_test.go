//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// startDev runs `connect-proxy dev` as a child and waits until it has printed
// what to try.
func startDev(t *testing.T) *agenttest.Process {
	t.Helper()
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{
		Path: self(t),
		Args: []string{"dev", "-http-addr", "127.0.0.1:0"},
		// What would lead its proxies elsewhere must not.
		Env: []string{asProgram + "=1", "PATH=" + withBrowser(t), "CONSUL_HTTP_ADDR=http://127.0.0.1:1", "CONSUL_HTTP_TOKEN=x", "CONNECT_PROXY_ID=other"},
	})
	p.WaitOutput(soon, "/v1/agent/connect/ca/roots")
	return p
}

// startDevInTime is startDev, and holds README.md's promise that the mesh is ready
// within a second: from the start of the program to the last line that it prints,
// and by what it says itself. It takes less than a tenth of that where nothing else
// runs. The time for which the machine keeps it waiting is not counted.
func startDevInTime(t *testing.T) *agenttest.Process {
	t.Helper()
	began, late := time.Now(), listenertest.Lateness(t)
	p := startDev(t)
	took := time.Since(began)
	if most := time.Second + late() + waitedForCPU(t, append(childrenOf(t, p.Pid()), p.Pid())); took > most {
		t.Errorf("ready after %s, which must not take longer than %s", took, most)
	}
	says := regexp.MustCompile(`ready in (\d+) ms`).FindStringSubmatch(p.Stdout.String())
	if says == nil {
		t.Fatalf("it does not say how long it took:\n%s", p.Stdout)
	}
	if ms, err := strconv.Atoi(says[1]); err != nil || time.Duration(ms)*time.Millisecond > took {
		t.Errorf("it says that it took %s ms, of %s at most", says[1], took)
	}
	return p
}

// waitedForCPU is how long the threads of processes have waited for a CPU, one
// after the other, while others had it; zero where the system does not tell.
func waitedForCPU(t *testing.T, pids []int) (all time.Duration) {
	t.Helper()
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if err != nil {
				continue // it has ended
			}
			// Nanoseconds: on a CPU, and waiting for one.
			if fields := strings.Fields(string(text)); len(fields) > 1 {
				ns, err := strconv.ParseInt(fields[1], 10, 64)
				if err != nil {
					t.Fatalf("%s: %v", thread, err)
				}
				all += time.Duration(ns)
			}
		}
	}
	return all
}

// withBrowser is a PATH with a browser of which only the page's text is left.
func withBrowser(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\nexec curl -s \"$1\"\n"), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return dir + ":" + os.Getenv("PATH")
}

// pasted are the lines that dev prints to be pasted, below the first comment.
func pasted(p *agenttest.Process) []string {
	_, text, _ := strings.Cut(p.Stdout.String(), "\n# ")
	var lines []string
	for line := range strings.Lines("# " + text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestWhatDevPrintsDoesWhatItSays(t *testing.T) {
	agenttest.Program(t, "curl")
	p := startDevInTime(t)
	says := []string{
		"web got: hello from api, you asked for /books/7",
		"hello from api, you asked for /books/7",
		"true", "web cannot reach api",
		"true", "web got: hello from api",
		"/ns/default/dc/dc1/svc/web", `"ready": true`,
		"", "web   api  outbound   1", "<html", "web can reach api",
		"api-proxy", `"TrustDomain": "`,
	}
	lines, path := pasted(p), withBrowser(t)
	printedInReadme(t, lines)
	if len(lines) != len(says) {
		t.Fatalf("%d lines are printed, not %d:\n%s", len(lines), len(says), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		// A change takes effect within two seconds.
		agenttest.Eventually(t, soon, func() error {
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", line)
			cmd.Env = append(os.Environ(), asProgram+"=1", "PATH="+path)
			out, err := cmd.Output()
			if err == nil && !strings.Contains(string(out), says[i]) {
				err = fmt.Errorf("%q is not in %q", says[i], out)
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", line, err)
			}
			return err
		})
	}
	// As denied, or as revoked where the change came between its handshake and its
	// first byte.
	p.WaitOutput(soon, "connection refused: listener=public")
	if strings.Contains(p.Output.String(), "starting connect-proxy") {
		t.Errorf("what the proxies log about their start is in the way:\n%s", p.Output)
	}
}

// printedInReadme holds README.md to what dev prints, the ports aside.
func printedInReadme(t *testing.T, lines []string) {
	t.Helper()
	port := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	normal := func(line string) string {
		line = strings.ReplaceAll(strings.TrimSpace(line), self(t), "./connect-proxy")
		return port.ReplaceAllString(line, "127.0.0.1:PORT")
	}
	known := map[string]bool{}
	for _, line := range lines {
		known[normal(line)] = true
	}
	for line := range strings.Lines(printed(t, "dev")[0].text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !known[normal(line)] {
			t.Errorf("README.md has a line that dev does not print: %s", line)
		}
	}
}

func TestAClientOfTheReadmeJoinsTheMeshOfDev(t *testing.T) {
	agenttest.Program(t, "curl")
	p := startDev(t)
	agent := regexp.MustCompile(`agent  http://(\S+)`).FindStringSubmatch(p.Stdout.String())
	if agent == nil {
		t.Fatalf("it does not say where its agent is:\n%s", p.Stdout)
	}
	port := fmt.Sprint(agenttest.FreePort(t))
	for _, args := range commands(t, "joins") {
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "9292", port)
		}
		agenttest.StartProcess(t, agenttest.ProcessOptions{
			Path: self(t), Args: args, Env: []string{asProgram + "=1", "CONSUL_HTTP_ADDR=" + agent[1]},
		})
	}
	agenttest.Eventually(t, soon, func() error {
		out, err := exec.CommandContext(t.Context(), "curl", "-s", "http://127.0.0.1:"+port+"/books/7").Output()
		if err == nil && !strings.Contains(string(out), "hello from api") {
			err = fmt.Errorf("answered %q", out)
		}
		return err
	})
}

func TestDevLeavesNothingBehind(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the children of a process are known on Linux only")
	}
	for name, end := range map[string]struct {
		signal syscall.Signal
		code   int
	}{
		"asked to stop":   {syscall.SIGTERM, exitDrained},
		"asked by Ctrl-C": {syscall.SIGINT, exitDrained},
		"killed":          {syscall.SIGKILL, -1},
	} {
		t.Run(name, func(t *testing.T) {
			p := startDev(t)
			children := childrenOf(t, p.Pid())
			if len(children) != 2 {
				t.Fatalf("it has %d children, not a proxy for each of two services", len(children))
			}
			p.Signal(end.signal)
			if code := p.Wait(anEnd); code != end.code {
				t.Errorf("exit code %d", code)
			}
			within := soon
			if end.signal != syscall.SIGKILL {
				within = 0 // it has waited for them
			}
			for _, pid := range children {
				agenttest.Eventually(t, within, func() error {
					// One that nobody has waited for yet has no command line.
					if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(line) > 0 {
						return fmt.Errorf("process %d goes on: %q", pid, line)
					}
					return nil
				})
			}
		})
	}
}

// childrenOf are the processes that a process has started.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// The parent is the second field after the name in parentheses.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, child)
		}
	}
	return found
}

func TestAProxyOfDevIsStartedAgain(t *testing.T) {
	agenttest.Program(t, "curl")
	if runtime.GOOS != "linux" {
		t.Skip("the children of a process are known on Linux only")
	}
	p := startDev(t)
	before := childrenOf(t, p.Pid())
	for _, pid := range before {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	agenttest.Eventually(t, soon, func() error {
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", pasted(p)[0]).Output()
		if err == nil && !strings.Contains(string(out), "hello from api") {
			err = fmt.Errorf("answered %q", out)
		}
		return err
	})
}

func TestWhatDevCannotDoIsSaidAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		says string
	}{
		"an address of all machines": {[]string{"-http-addr", "0.0.0.0:8500"}, "-http-addr 0.0.0.0:8500: give an address of the loopback"},
		"an address of another":      {[]string{"-http-addr", "192.0.2.1:8500"}, "give an address of the loopback"},
		"a name":                     {[]string{"-http-addr", "agent.example:8500"}, "give an address of the loopback"},
		"an address without a port":  {[]string{"-http-addr", "127.0.0.1"}, "give host:port"},
		"a port that is none":        {[]string{"-http-addr", "127.0.0.1:web"}, `"web" is no port`},
		"a level that is none":       {[]string{"-log-level", "loud"}, "-log-level: loud"},
		"a word too many":            {[]string{"now"}, `"now" is neither`},
		"an unknown flag":            {[]string{"-keep"}, "-keep"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := program(t, append([]string{"dev"}, tc.args...)...)
			if code != exitUsage || !strings.Contains(stderr, tc.says) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
}
