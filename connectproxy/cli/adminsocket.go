package cli

import (
	"cmp"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/fileowner"
)

// adminOff is the -admin-addr that serves nothing.
const adminOff = "off"

// adminAddress is where the admin pages are served: the address given, or a unix
// socket in the runtime directory that is named after the proxy. It is empty
// where they are not wanted, or there is no place for the socket, which is no
// reason not to run.
func adminAddress(given, name string, logger hclog.Logger) string {
	switch {
	case given == adminOff:
		return ""
	case given != "":
		return given
	case runtime.GOOS == "windows":
		return "" // its files have no mode that keeps others out
	}
	path, err := adminSocket(name)
	if err != nil {
		logger.Info("no admin pages: there is no place for their socket", "error", err)
		return ""
	}
	return "unix:" + path
}

// maxSocketPath is what every system takes for a unix socket's path.
const maxSocketPath = 100

// adminSocket finds a free path for the socket of the proxy of that name, and
// makes the directory.
func adminSocket(name string) (string, error) {
	var problem error
	for _, dir := range runtimeDirs() {
		if err := ownDirectory(dir); err != nil {
			problem = cmp.Or(problem, err)
			continue
		}
		removeLeftovers(dir)
		path := filepath.Join(dir, fileName(name)+".sock")
		if answers(path) { // another proxy of the same name
			path = filepath.Join(dir, fmt.Sprintf("%s-%d.sock", fileName(name), os.Getpid()))
		}
		if len(path) <= maxSocketPath {
			return path, nil
		}
		problem = cmp.Or(problem, fmt.Errorf("%s: the path is too long", path))
	}
	return "", problem
}

// rootsDirectory is for the sockets of proxies that root runs. Tests have another.
var rootsDirectory = "/run/connect-proxy"

// runtimeDirs are where sockets may be, the best place first.
func runtimeDirs() []string {
	var dirs []string
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" { // systemd's
		dir, _, _ = strings.Cut(dir, ":")
		dirs = append(dirs, dir)
	}
	if os.Getuid() == 0 {
		dirs = append(dirs, rootsDirectory)
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "connect-proxy"))
	}
	return append(dirs, filepath.Join(os.TempDir(), fmt.Sprintf("connect-proxy-%d", os.Getuid())))
}

// ownDirectory makes a directory that nobody else can write to, or reports why
// the one that is there cannot be trusted.
func ownDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	return trusted(dir)
}

// trusted reports why somebody else may have put a socket into a directory; nil
// if nobody can.
func trusted(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by others", dir)
	case !fileowner.IsThisUser(info):
		return fmt.Errorf("%s belongs to another user", dir)
	}
	return nil
}

// fileName is a proxy's name as that of a file.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name, ".-")
	return cmp.Or(name[:min(len(name), 60)], "proxy")
}

// answers reports whether somebody listens on a unix socket.
func answers(path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// unitDirs are the directories below a trusted one that systemd has made for the
// user of each unit, as root sees them: only who owns the one above could make
// them, and only who owns them can write to them.
func unitDirs(above string) []string {
	entries, err := os.ReadDir(above)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.IsDir() && info.Mode().Perm()&0o022 == 0 {
			dirs = append(dirs, filepath.Join(above, e.Name()))
		}
	}
	return dirs
}

// sockets are those of the proxies that run, by the directories in which they
// may be.
func sockets() []string {
	var dirs, found []string
	for _, dir := range runtimeDirs() {
		if trusted(dir) == nil {
			dirs = append(append(dirs, dir), unitDirs(dir)...)
		}
	}
	for _, dir := range dirs {
		paths, _ := filepath.Glob(filepath.Join(dir, "*.sock")) // an error is a bad pattern
		for _, p := range paths {
			if answers(p) {
				found = append(found, p)
			}
		}
	}
	return found
}

// adminName is what the socket is named after: the proxy's ID where it is known,
// or what stands in its place.
func (p *plan) adminName() string {
	file := filepath.Base(p.options.configFile)
	return cmp.Or(p.name, p.from.proxyID, p.from.sidecarFor, p.options.service, p.options.serverName, strings.TrimSuffix(file, filepath.Ext(file)))
}

// logLevel is the level of a logger and of all that are made of it.
type logLevel struct{ hclog.Logger }

func (l logLevel) Get() string { return l.GetLevel().String() }

func (l logLevel) Set(text string) error {
	level, ok := parseLevel(text)
	if !ok {
		return fmt.Errorf("level %q: give one of trace, debug, info, warn, error, off", text)
	}
	was := l.GetLevel()
	l.SetLevel(level)
	l.Warn("log level changed", "was", was.String(), "level", level.String())
	return nil
}
