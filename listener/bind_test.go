package listener_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

func TestListenTakesEveryKindOfAddress(t *testing.T) {
	for name, tc := range map[string]struct{ network, address string }{
		"IPv4":          {"tcp", "127.0.0.1:0"},
		"IPv6":          {"tcp", "[::1]:0"},
		"every address": {"tcp", ":0"},
		"host name":     {"tcp", "localhost:0"},
		"unix socket":   {"unix", filepath.Join(t.TempDir(), "s")},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.address == "[::1]:0" && !listenertest.HasIPv6(t) {
				t.Skip("the loopback has no IPv6, ::1")
			}
			ln, err := listener.Listen(t.Context(), tc.network, tc.address, 0)
			if err != nil {
				t.Fatal(err)
			}
			echo := listenertest.NewEcho(t)
			l := startOn(t, ln, listener.Options{Dial: dialTo(echo.Addr())})
			c, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			roundTrip(t, c)
			l.stop()
		})
	}
}

func TestListenSaysWhatIsInTheWay(t *testing.T) {
	taken, err := listener.Listen(t.Context(), "tcp", "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	file, live := filepath.Join(dir, "file"), filepath.Join(dir, "live")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := listener.Listen(t.Context(), "unix", live, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, tc := range map[string]struct{ network, address, want string }{
		"port in use":       {"tcp", taken.Addr().String(), "in use"},
		"a file":            {"unix", file, "no socket"},
		"a live socket":     {"unix", live, "another process listens there"},
		"no such directory": {"unix", filepath.Join(dir, "none", "s"), "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := listener.Listen(t.Context(), tc.network, tc.address, 0)
			if err == nil {
				_ = ln.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Count(err.Error(), tc.address) != 1 {
				t.Errorf("error %q does not say %q and the address once", err, tc.want)
			}
		})
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
	c, err := net.Dial("unix", live)
	if err != nil {
		t.Fatalf("the live socket was touched: %v", err)
	}
	_ = c.Close()
}

func TestUnixSocketFileHasItsModeAndGoesWithTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = stale.Close()

	ln, err := listener.Listen(t.Context(), "unix", path, 0o662)
	if err != nil {
		t.Fatalf("a stale file is in the way: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o662 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is left behind: %v", err)
	}
}

func TestUnixSocketLeavesASuccessorsFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := listener.Listen(t.Context(), "unix", path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor, err := listener.Listen(t.Context(), "unix", path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	_ = ln.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the successor's file is gone: %v", err)
	}
	_ = c.Close()
}

func TestDialerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := listener.NewDialer().DialContext(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("dialled %v, %v", c, err)
	}
}
