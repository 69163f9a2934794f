//go:build unix

package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

// The proxy puts its socket where the commands look for it, with nothing said to
// either.
func TestCommandsAskTheOneProxyThatRuns(t *testing.T) {
	dir := socketDir(t)
	env := []string{asProgram + "=1", rootsDirectoryVariable + "=" + filepath.Join(dir, "root"), "RUNTIME_DIRECTORY=", "XDG_RUNTIME_DIR=" + dir, "TMPDIR=" + dir}
	run := func(args ...string) *agenttest.Process {
		t.Helper()
		return agenttest.StartProcess(t, agenttest.ProcessOptions{Path: self(t), Args: args, Env: env})
	}
	says := func(code int, text string, args ...string) {
		t.Helper()
		p := run(args...)
		if got := p.Wait(anEnd); got != code || !strings.Contains(p.Output.String(), text) {
			t.Errorf("%q: exit code %d, want %d, and that it says %q:\n%s", args, got, code, text, p.Output)
		}
	}
	says(exitFailed, "no running proxy of this user is found here", "status")
	proxy := run("-service", "web", "-upstream", fmt.Sprintf("db:%d", agenttest.FreePort(t)), "-http-addr", startDevAgent(t))
	proxy.WaitOutput(soon, ": ready")
	says(exitDrained, "web is ready", "status")
	says(exitDrained, "✓ web serves", "check")
	says(exitDrained, "info", "loglevel")
}
