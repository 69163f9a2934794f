//go:build unix

package regularfile

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnlyARegularFileIsRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("file"), at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("pipe"), at("link to a pipe")); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for path, problem := range map[string]string{
		at("file"):           "",
		at("link"):           "",
		at("none"):           "no such file",
		dir:                  "not a regular file",
		at("pipe"):           "not a regular file",
		at("link to a pipe"): "not a regular file",
		at("socket"):         at("socket"),
		os.DevNull:           "not a regular file",
		"/dev/zero":          "not a regular file",
	} {
		content, err := readInTime(t, path, len("content"))
		var named *fs.PathError
		switch {
		case problem == "" && (err != nil || string(content) != "content"):
			t.Errorf("%s: %q, %v", path, content, err)
		case problem != "" && (!errors.As(err, &named) || named.Path != path || !strings.Contains(err.Error(), problem) || content != nil):
			t.Errorf("%s: %q, %v; want %q", path, content, err, problem)
		}
	}
}

// readInTime lets go whoever waits for the writer of a pipe, and says so.
func readInTime(t *testing.T, path string, most int) ([]byte, error) {
	t.Helper()
	release := time.AfterFunc(10*time.Second, func() {
		t.Errorf("%s is waited for", path)
		if w, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
			w.Close()
		}
	})
	defer release.Stop()
	return Read(path, most)
}

func TestAFileIsReadToABound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("123456"), 0o600); err != nil {
		t.Fatal(err)
	}
	for most, whole := range map[int]bool{5: false, 6: true, 7: true} {
		content, err := Read(path, most)
		if whole != (err == nil) || whole && string(content) != "123456" || !whole && !strings.Contains(err.Error(), "longer than the 5 bytes") {
			t.Errorf("%d bytes at most: %q, %v", most, content, err)
		}
	}
}
