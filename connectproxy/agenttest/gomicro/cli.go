package gomicro

import (
	"bytes"
	"os/exec"
	"testing"
)

// commandLine is the module of Micro's own command line, of release 1.0.0: it asks
// a proxy, which later ones do not.
const commandLine = "cli"

// CLI runs Micro's command line with a proxy's address and returns what it prints,
// errors with it.
func CLI(t testing.TB, proxy string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, commandLine), append([]string{"--proxy_address", proxy}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}
