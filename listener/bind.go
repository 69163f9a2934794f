package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// What a dead peer of an idle connection costs: 30 s until the first probe and
// 6 probes 10 s apart, so it is noticed after a minute and a half. On Linux the
// kernel hands these down from a listening socket to those accepted from it.
var keepAlive = net.KeepAliveConfig{
	Enable:   true,
	Idle:     30 * time.Second,
	Interval: 10 * time.Second,
	Count:    6,
}

// staleProbe bounds the question whether somebody answers at a unix socket.
const staleProbe = time.Second

// Listen opens a listening socket: network is "tcp" or "unix" (or one of Go's
// more exact names), address what net.Listen takes. Connections accepted from
// it notice a dead peer within two minutes.
//
// The file of a unix socket gets the permission bits of mode, zero leaving them
// to the umask, and is removed on Close if it is still this socket's. A socket
// file that nobody answers at is replaced; one that is in use is an error, as
// is a file that is no socket.
func Listen(ctx context.Context, network, address string, mode fs.FileMode) (net.Listener, error) {
	lc := listenConfig(mode)
	ln, err := lc.Listen(ctx, network, address)
	unix := strings.HasPrefix(network, "unix") && !strings.HasPrefix(address, "@")
	if err != nil && unix && isAddrInUse(err) {
		if err := removeStale(ctx, address); err != nil {
			return nil, fmt.Errorf("binding %s: %w", address, err)
		}
		ln, err = lc.Listen(ctx, network, address)
	}
	if err != nil {
		return nil, fmt.Errorf("binding %s: %w", address, rootCause(err))
	}
	if !unix {
		return ln, nil
	}
	return newSocketFile(ln, address, mode)
}

// removeStale removes the socket file of a process that is gone.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // removed meanwhile
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errNoSocket
	}
	d := net.Dialer{Timeout: staleProbe}
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		_ = conn.Close()
		return errInUse
	case !isRefused(err):
		return fmt.Errorf("asking whether another process listens there: %w", rootCause(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a stale socket: %w", err)
	}
	return nil
}

// socketFile is a unix socket that owns its file.
type socketFile struct {
	*net.UnixListener
	path  string
	file  fs.FileInfo // nil: unknown, so it is left alone
	close sync.Once
}

func newSocketFile(ln net.Listener, path string, mode fs.FileMode) (net.Listener, error) {
	ul, ok := ln.(*net.UnixListener)
	if !ok {
		return ln, nil
	}
	// A successor may have put its own socket there by the time this one
	// closes: net would remove that too.
	ul.SetUnlinkOnClose(false)
	s := &socketFile{UnixListener: ul, path: path}
	var err error
	if mode != 0 {
		err = os.Chmod(path, mode.Perm())
	}
	if err == nil {
		s.file, err = os.Lstat(path)
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("binding %s: %w", path, err)
	}
	return s, nil
}

// Close closes the socket, then removes its file.
func (s *socketFile) Close() error {
	err := s.UnixListener.Close()
	s.close.Do(func() {
		now, statErr := os.Lstat(s.path)
		if statErr == nil && s.file != nil && os.SameFile(now, s.file) {
			_ = os.Remove(s.path)
		}
	})
	return err
}
