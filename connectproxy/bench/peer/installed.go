//go:build linux

package peer

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"text/template"
)

// templateData are what the templates below testdata/bench are filled with.
type templateData struct {
	Side                   string // "client" or "server"
	Listen, Target         string
	Certificate, Authority string
	ServerName             string
	Dir                    string
	Modules                []string // nginx's
	// Connections is how many at a time, Descriptors what they take.
	Connections, Descriptors int
}

// Addresses in parts.
func (s templateData) ListenHost() string { return hostOf(s.Listen) }
func (s templateData) ListenPort() int    { return portOf(s.Listen) }
func (s templateData) TargetHost() string { return hostOf(s.Target) }
func (s templateData) TargetPort() int    { return portOf(s.Target) }

// write fills in a template for both sides, the server's first.
func (l *Lab) write(name string, s site, modules ...string) (files [2]string, err error) {
	t, err := template.ParseFiles(filepath.Join(l.Root, "testdata", "bench", name+".tmpl"))
	if err != nil {
		return files, fmt.Errorf("reading a template: %w", err)
	}
	both := templateData{
		Authority:   l.certificates.Authority,
		ServerName:  serverName,
		Dir:         l.Dir,
		Modules:     modules,
		Connections: l.Connections,
		Descriptors: 2*l.Connections + 50,
	}
	server, client := both, both
	server.Side, server.Certificate = "server", l.certificates.Server
	server.Listen, server.Target = loopback(s.between), l.app
	client.Side, client.Certificate = "client", l.certificates.Client
	client.Listen, client.Target = loopback(s.listen), loopback(s.between)
	for i, one := range []templateData{server, client} {
		var text bytes.Buffer
		if err := t.Execute(&text, one); err != nil {
			return files, fmt.Errorf("filling in a template: %w", err)
		}
		files[i] = filepath.Join(l.Dir, one.Side+"-"+name)
		if err := os.WriteFile(files[i], text.Bytes(), 0o600); err != nil {
			return files, fmt.Errorf("writing a configuration: %w", err)
		}
	}
	return files, nil
}

// says is the part of what a program says of itself that matches.
func (l *Lab) says(ctx context.Context, re string, args ...string) (string, error) {
	text, err := l.output(ctx, args...)
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(re).FindString(text)
	if found == "" {
		return "", fmt.Errorf("%s does not tell its version: %q", filepath.Base(args[0]), text)
	}
	return found, nil
}

func findHAProxy(ctx context.Context, l *Lab) (string, error) {
	path, err := installed("haproxy", "haproxy")
	if err != nil {
		return "", err
	}
	return l.says(ctx, `HAProxy version [\d.]+`, path, "-v")
}

func haproxyCommands(_ context.Context, l *Lab, s site) (c [2][]string, err error) {
	path, err := installed("haproxy", "haproxy")
	if err != nil {
		return c, err
	}
	files, err := l.write("haproxy.cfg", s)
	for i, file := range files {
		c[i] = []string{path, "-db", "-f", file}
	}
	return c, err
}

func findNginx(ctx context.Context, l *Lab) (string, error) {
	path, err := installed("nginx", "nginx")
	if err != nil {
		return "", err
	}
	if _, err := l.nginxModules(ctx, path); err != nil {
		return "", err
	}
	return l.says(ctx, `nginx/[\d.]+`, path, "-v")
}

// nginxModules are those that have to be loaded for the stream module, which a
// distribution may package apart.
func (l *Lab) nginxModules(ctx context.Context, path string) ([]string, error) {
	text, err := l.output(ctx, path, "-V")
	if err != nil {
		return nil, err
	}
	missing := errors.New("nginx's stream module is not installed (Debian: apt-get install libnginx-mod-stream)")
	where := "/usr/lib/nginx/modules"
	for _, flag := range strings.Fields(text) {
		if dir, ok := strings.CutPrefix(flag, "--modules-path="); ok {
			where = dir
		}
	}
	switch {
	case strings.Contains(text, "--with-stream=dynamic"):
		module := filepath.Join(where, "ngx_stream_module.so")
		if _, err := os.Stat(module); err != nil {
			return nil, missing
		}
		return []string{module}, nil
	case strings.Contains(text, "--with-stream "):
		return nil, nil
	}
	return nil, missing
}

func nginxCommands(ctx context.Context, l *Lab, s site) (c [2][]string, err error) {
	path, err := installed("nginx", "nginx")
	if err != nil {
		return c, err
	}
	modules, err := l.nginxModules(ctx, path)
	if err != nil {
		return c, err
	}
	files, err := l.write("nginx.conf", s, modules...)
	for i, file := range files {
		c[i] = []string{path, "-c", file}
	}
	return c, err
}

func findStunnel(ctx context.Context, l *Lab) (string, error) {
	path, err := installed("stunnel4", "stunnel4")
	if err != nil {
		return "", err
	}
	return l.says(ctx, `stunnel [\d.]+`, path, "-version")
}

func stunnelCommands(_ context.Context, l *Lab, s site) (c [2][]string, err error) {
	path, err := installed("stunnel4", "stunnel4")
	if err != nil {
		return c, err
	}
	files, err := l.write("stunnel.conf", s)
	for i, file := range files {
		c[i] = []string{path, file}
	}
	return c, err
}

// envoyVariable names Envoy's binary where it is not in PATH.
const envoyVariable = "ENVOY"

// envoyPath finds Envoy, which Debian does not package.
func envoyPath() (string, error) {
	name := cmp.Or(os.Getenv(envoyVariable), "envoy")
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("envoy is not installed (%s names its binary): %w", envoyVariable, err)
	}
	return path, nil
}

func findEnvoy(ctx context.Context, l *Lab) (string, error) {
	path, err := envoyPath()
	if err != nil {
		return "", err
	}
	version, err := l.says(ctx, `/\d[\d.]+/`, path, "--version")
	return "Envoy " + strings.Trim(version, "/"), err
}

func envoyCommands(_ context.Context, l *Lab, s site) (c [2][]string, err error) {
	path, err := envoyPath()
	if err != nil {
		return c, err
	}
	files, err := l.write("envoy.yaml", s)
	for i, file := range files {
		c[i] = []string{path, "-c", file, "--concurrency", strconv.Itoa(runtime.NumCPU()), "--disable-hot-restart", "--log-level", "warning"}
	}
	return c, err
}
