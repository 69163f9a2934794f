package agenttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"connect-proxy/connectproxy/agenttest/agentbuild"
)

var binary struct {
	once sync.Once
	dir  string
	err  error
}

// Binary returns the path of connect-proxy, built at the first call in this
// test process. The package's TestMain must call RemoveBinary at its end.
func Binary(t testing.TB) string {
	t.Helper()
	binary.once.Do(buildBinary)
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return binaryPath()
}

// RemoveBinary removes what Binary built, if it did.
func RemoveBinary() {
	if binary.dir != "" {
		_ = os.RemoveAll(binary.dir)
	}
}

func binaryPath() string {
	path := filepath.Join(binary.dir, "connect-proxy")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	return path
}

func buildBinary() {
	root, err := agentbuild.Root()
	if err != nil {
		binary.err = err
		return
	}
	if binary.dir, err = os.MkdirTemp("", "connect-proxy-test-"); err != nil {
		binary.err = err
		return
	}
	args := []string{"build", "-o", binaryPath()}
	if Race() {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		binary.err = fmt.Errorf("building connect-proxy: %w", errors.Join(err, errors.New(string(out))))
	}
}

// Race reports whether programs can be built with the race detector here: it takes
// cgo and a C compiler. CONNECT_PROXY_TEST_RACE=0 or 1 in the environment
// decides otherwise.
var Race = sync.OnceValue(func() bool {
	switch os.Getenv("CONNECT_PROXY_TEST_RACE") {
	case "0":
		return false
	case "1":
		return true
	}
	out, err := exec.Command("go", "env", "CGO_ENABLED", "CC").Output()
	if err != nil {
		return false
	}
	enabled, cc, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	fields := strings.Fields(cc)
	if enabled != "1" || len(fields) == 0 {
		return false
	}
	_, err = exec.LookPath(fields[0])
	return err == nil
})

// StartProxy runs connect-proxy with these arguments, with env added to its
// environment.
func StartProxy(t testing.TB, env []string, args ...string) *Process {
	t.Helper()
	return StartProcess(t, ProcessOptions{Path: Binary(t), Args: args, Env: env})
}
