package agentbuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// consulPackage is the main package of every release.
const consulPackage = "github.com/hashicorp/consul"

// linkFlags leave out the symbol table and debug information: a third of the
// binary's size and much of the linker's time.
const linkFlags = "-s -w"

// Path returns the path of the agent's binary and builds it first if the cache
// has none. It says on progress what it is doing when that takes time, and is
// silent otherwise. Any number of processes may call it at once: one builds and
// the others wait for it.
func Path(ctx context.Context, r Release, progress io.Writer) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "testdata", "agents", r.Name)
	binary, err := place(ctx, module, r)
	if err != nil {
		return "", fmt.Errorf("placing Consul %s: %w", r.Version, err)
	}
	if exists(binary) {
		return binary, nil
	}
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", fmt.Errorf("making room for Consul %s: %w", r.Version, err)
	}
	unlock, err := lock(ctx, binary+".lock", func() {
		fmt.Fprintf(progress, "waiting for another process that builds Consul %s\n", r.Version)
	})
	if err != nil {
		return "", fmt.Errorf("locking the build of Consul %s: %w", r.Version, err)
	}
	defer unlock()
	if exists(binary) {
		return binary, nil
	}
	if err := build(ctx, module, binary, r, progress); err != nil {
		return "", fmt.Errorf("building Consul %s: %w", r.Version, err)
	}
	return binary, nil
}

// place names the binary after everything that decides what it is made of.
func place(ctx context.Context, module string, r Release) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = module
	version, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking the go command for its version: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %s %s\n", bytes.TrimSpace(version), runtime.GOOS, runtime.GOARCH, linkFlags)
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		h.Write(text)
	}
	name := "consul-" + r.Version + "-" + hex.EncodeToString(h.Sum(nil))[:12]
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(cache, "connect-proxy", name), nil
}

// build writes next to the binary and renames, so that nobody ever sees half of
// one.
func build(ctx context.Context, module, binary string, r Release, progress io.Writer) error {
	fmt.Fprintf(progress, "building Consul %s from source, %s, once: %s\n", r.Version, r.Takes, binary)
	start := time.Now()

	half := fmt.Sprintf("%s.%d", binary, os.Getpid())
	defer os.Remove(half)
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-buildvcs=false",
		"-ldflags="+linkFlags, "-o", half, consulPackage)
	cmd.Dir = module
	// Without cgo the binary is the same whether or not there is a C compiler.
	// A workspace above the repository must not draw the module into it.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, ctx.Err(), errors.New(lastLines(out, 20)))
	}
	if err := os.Rename(half, binary); err != nil && !exists(binary) {
		return err
	}
	fmt.Fprintf(progress, "built Consul %s in %s\n", r.Version, time.Since(start).Round(time.Second))
	return nil
}

// Root is the directory of this repository, found upwards from the working
// directory: that of a package under test, or of whoever ran `go run`.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, "testdata", "agents", Modern.Name, "go.mod")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("finding testdata/agents upwards from %s: %w", start, fs.ErrNotExist)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func lastLines(text []byte, n int) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
