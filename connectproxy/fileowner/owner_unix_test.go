//go:build unix

package fileowner

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsItsOwners(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(want bool) {
		t.Helper()
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := IsThisUser(info); got != want {
			t.Errorf("this user's: %t", got)
		}
	}
	check(true)
	if os.Getuid() != 0 {
		t.Skip("only root gives files to others")
	}
	if err := os.Chown(file, 65534, -1); err != nil {
		t.Fatal(err)
	}
	check(false)
}
