package agenttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"connect-proxy/listener/listenertest"
)

// markName is an environment variable of the agent's that its proxies inherit,
// so that they can be found whatever became of their pid files.
const markName = "AGENTTEST_DATA_DIR"

func (a *Agent) mark() string { return markName + "=" + a.DataDir }

// ProxyPid is the process ID of the managed proxy of that ID, as the agent
// wrote it down; the proxy of service "web" is "web-proxy". It waits for the
// first one.
func (a *Agent) ProxyPid(proxyID string) int {
	a.t.Helper()
	var pid int
	Eventually(a.t, startWithin, func() (err error) {
		pid, err = readPid(filepath.Join(a.DataDir, "proxy", "pids", proxyID+".pid"))
		return err
	})
	return pid
}

// WaitSnapshot waits until the agent has written down that it launched the
// proxy, which it does once a second. An agent that is stopped before that
// launches a second one after its next start and forgets the first.
func (a *Agent) WaitSnapshot(proxyID string) {
	a.t.Helper()
	pid := strconv.Itoa(a.ProxyPid(proxyID))
	Eventually(a.t, startWithin, func() error {
		text, err := os.ReadFile(filepath.Join(a.DataDir, "proxy", "snapshot.json"))
		if err == nil && !strings.Contains(string(text), pid) {
			err = fmt.Errorf("%s (process %s) is not in the agent's snapshot", proxyID, pid)
		}
		return err
	})
}

// ProxyPids is the process IDs of all proxies that the agent launched and that
// run, also of those it has lost sight of.
func (a *Agent) ProxyPids() []int {
	var pids []int
	for _, pid := range launched(a.DataDir, a.mark()) {
		if a.process == nil || pid != a.process.Pid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ProxyLog is what the managed proxy of that ID wrote on standard error.
func (a *Agent) ProxyLog(proxyID string) string {
	text, err := os.ReadFile(filepath.Join(a.DataDir, "proxy", "logs", proxyID+"-stderr.log"))
	if err != nil && !os.IsNotExist(err) {
		a.t.Fatalf("reading the log of %s: %v", proxyID, err)
	}
	return string(text)
}

// killProxies ends what the agent launched. Each is the leader of a session of
// its own.
func (a *Agent) killProxies() {
	err := listenertest.Poll(10*time.Second, nil, func() error {
		pids := a.ProxyPids()
		for _, pid := range pids {
			killGroup(pid)
		}
		if len(pids) > 0 {
			return fmt.Errorf("processes %v go on", pids)
		}
		return nil
	})
	if err != nil {
		a.t.Errorf("killing the proxies that Consul %s launched: %v", a.release.Version, err)
	}
}

func readPid(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && pid <= 1 {
		err = errors.New("not a process ID: " + string(text))
	}
	return pid, err
}
