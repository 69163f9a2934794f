//go:build unix

package cli

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A socket that somebody else could put there would answer in a proxy's place.
func TestSocketsAreLookedForWhereNobodyElseCanPutThem(t *testing.T) {
	base := socketDir(t)
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("TMPDIR", base)
	t.Setenv("XDG_RUNTIME_DIR", base)
	dir := filepath.Join(base, "connect-proxy")
	path := filepath.Join(dir, "web.sock")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	found := func() bool {
		for _, p := range sockets() {
			if p == path {
				return true
			}
		}
		return false
	}
	if !found() {
		t.Fatal("the socket is not found")
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if found() {
		t.Error("it is used although everybody can write to its directory")
	}
	if err := os.Rename(dir, dir+"-other"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"-other", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"-other", dir); err != nil {
		t.Fatal(err)
	}
	if found() {
		t.Error("it is used although a link leads to its directory")
	}
}

// Forty proxies on a machine are common, and a line of forty paths hides what to
// do.
func TestOfManyProxiesAFewAreNamedAndTheOthersCounted(t *testing.T) {
	var found []string
	for i := range 40 {
		found = append(found, fmt.Sprintf("/run/connect-proxy/web%d.sock", i))
	}
	for n, want := range map[int][]string{
		2:  {"2 proxies run here", "-admin-addr unix:/run/connect-proxy/web0.sock or unix:/run/connect-proxy/web1.sock"},
		40: {"40 proxies run here", "unix:/run/connect-proxy/web2.sock", "37 more in /run/connect-proxy"},
	} {
		text := severalProxies(found[:n]).Error()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("of %d proxies, %q is not said: %s", n, w, text)
			}
		}
		if len(text) > 250 || n == 2 && strings.Contains(text, "more") {
			t.Errorf("of %d proxies: %s", n, text)
		}
	}
}

func TestWithTwoProxiesAndNoAddressTheErrorNamesBothInOneLine(t *testing.T) {
	base := socketDir(t)
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("CONNECT_PROXY_ADMIN", "")
	t.Setenv("TMPDIR", base)
	t.Setenv("XDG_RUNTIME_DIR", base)
	before := rootsDirectory // proxies may run on this machine
	rootsDirectory = filepath.Join(base, "none")
	t.Cleanup(func() { rootsDirectory = before })
	dir := filepath.Join(base, "connect-proxy")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"api", "web"} {
		ln, err := net.Listen("unix", filepath.Join(dir, name+".sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
	}
	for _, args := range [][]string{{"check"}, {"status"}, {"connections"}, {"connections", "-watch"}, {"connections", "close", "1"}, {"top"}, {"loglevel", "debug"}} {
		code, stdout, stderr := tool(t, args...)
		if code != exitFailed || stdout != "" || strings.Count(stderr, "\n") != 1 || len(stderr) > 400 ||
			!strings.Contains(stderr, "-admin-addr unix:"+dir+"/api.sock or unix:"+dir+"/web.sock") {
			t.Errorf("%q: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
}

// As /run/connect-proxy/web, which systemd makes for connect-proxy@web.
func TestSocketsInTheDirectoriesOfUnitsAreFound(t *testing.T) {
	base := socketDir(t)
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("TMPDIR", base)
	t.Setenv("XDG_RUNTIME_DIR", base)
	unit := filepath.Join(base, "connect-proxy", "web")
	if err := os.MkdirAll(unit, 0o750); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(unit, "web.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	found := func() bool { return slices.Contains(sockets(), filepath.Join(unit, "web.sock")) }
	if !found() {
		t.Error("the socket is not found")
	}
	if err := os.Chmod(unit, 0o777); err != nil {
		t.Fatal(err)
	}
	if found() {
		t.Error("it is used although everybody can write to its directory")
	}
}

// As after kill -9, where a proxy of the same name ran beside it.
func TestSocketsOfKilledProxiesAreRemovedAndNothingElse(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	base := socketDir(t)
	t.Setenv("RUNTIME_DIRECTORY", base)
	socket := func(name string, age time.Duration, listening bool) string {
		t.Helper()
		path := filepath.Join(base, name)
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		if listening {
			t.Cleanup(func() { ln.Close() })
		} else {
			ln.Close()
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone, us := dead.Process.Pid, os.Getpid()
	file := filepath.Join(base, fmt.Sprintf("file-%d.sock", gone))
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(base, fmt.Sprintf("link-%d.sock", gone))
	if err := os.Symlink(socket("target.sock", time.Hour, false), link); err != nil {
		t.Fatal(err)
	}
	for path, kept := range map[string]bool{
		socket(fmt.Sprintf("web-%d.sock", gone), time.Hour, false):     false,
		socket(fmt.Sprintf("fresh-%d.sock", gone), time.Second, false): true, // it may be about to listen
		socket(fmt.Sprintf("served-%d.sock", gone), time.Hour, true):   true,
		socket(fmt.Sprintf("running-%d.sock", us), time.Hour, false):   true,
		socket("web.sock", time.Hour, false):                           true, // the next proxy of the name takes it over
		socket("web-99999999999999999999.sock", time.Hour, false):      true,
		file:                               true,
		link:                               true,
		filepath.Join(base, "target.sock"): true,
	} {
		if _, err := adminSocket("other"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(path); (err == nil) != kept {
			t.Errorf("%s: %v, kept should be %t", filepath.Base(path), err, kept)
		}
	}
}

func TestTheSocketIsNamedAfterWhatTheProxyIsFor(t *testing.T) {
	for want, p := range map[string]plan{
		"web-1-sidecar-proxy": {from: configSource{proxyID: "web-1-sidecar-proxy"}, options: options{configFile: "/etc/other.hcl"}},
		"web-1":               {from: configSource{sidecarFor: "web-1"}},
		"web":                 {options: options{service: "web"}},
		"greeter":             {options: options{serverName: "greeter"}},
		"shop":                {options: options{configFile: "/etc/connect-proxy/shop.hcl"}},
	} {
		if got := p.adminName(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
