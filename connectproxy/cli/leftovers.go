package cli

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// leftover is the name of a socket that nobody will take over: it has the process
// ID of the proxy that made it.
var leftover = regexp.MustCompile(`-(\d{1,10})\.sock$`)

// settled is the age below which a socket may belong to a proxy that is about to
// listen on it: a proxy's own name may end in a number too.
const settled = 10 * time.Second

// removeLeftovers removes the sockets of proxies that were killed: nobody listens,
// and their process is gone. The directory must be one that nobody else can write
// to. What cannot be removed is in nobody's way.
func removeLeftovers(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		m := leftover.FindStringSubmatch(e.Name())
		if m == nil || e.Type() != fs.ModeSocket {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < settled || runs(m[1]) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		c, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(path)
		}
	}
}

// runs reports whether there is a process of that ID, or may be.
func runs(pid string) bool {
	id, err := strconv.Atoi(pid)
	if err != nil || id <= 0 {
		return true
	}
	p, err := os.FindProcess(id)
	if err != nil {
		return true
	}
	defer func() { _ = p.Release() }()
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
