package agenttest

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FindProgram returns the path of an installed program, empty where there is none. It
// looks where distributions put servers, too: Debian keeps all of PostgreSQL's of one
// version together, and in the PATH something that chooses between versions. The
// Makefile's test looks in the same places.
func FindProgram(name string) string {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
		return found[len(found)-1]
	}
	for _, file := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	return ""
}

// Program returns the path of an installed program and skips the test where there is
// none. The Makefile's test names those that are missing: its list has every name
// that is given here.
func Program(t testing.TB, name string) string {
	t.Helper()
	path := FindProgram(name)
	if path == "" {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// Netcat returns the path of OpenBSD's nc, which can end one direction and go through
// proxies, and skips the test where it is not what is installed. By the letters of
// its flags alone it cannot be told: macOS has a -N of its own.
func Netcat(t testing.TB) string {
	t.Helper()
	path := Program(t, "nc")
	help, _ := exec.CommandContext(t.Context(), path, "-h").CombinedOutput() // it fails for want of an address
	if !strings.Contains(string(help), "Shutdown the network socket after EOF") {
		t.Skip("nc is not OpenBSD's: netcat-openbsd is not installed")
	}
	return path
}

// RunProgram runs an installed program, for a minute at most, and returns what it
// wrote on both of its streams. Env is added to the test's own environment, in which
// there is nothing of Consul's and no address that is kept from proxies.
func RunProgram(t testing.TB, env []string, stdin, name string, args ...string) (string, error) {
	t.Helper()
	path := Program(t, name)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(cleanEnv(), "no_proxy=", "NO_PROXY="), env...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// ProgramSays runs a program as RunProgram does, which must succeed and say text.
func ProgramSays(t testing.TB, text string, env []string, stdin, name string, args ...string) {
	t.Helper()
	if out, err := RunProgram(t, env, stdin, name, args...); err != nil || !strings.Contains(out, text) {
		t.Errorf("%s %q: %v\n%s", name, args, err, out)
	}
}
