//go:build unix

package edge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestACacheOfAnotherUserIsNotUsed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files to others")
	}
	for _, of := range []string{"root", "dir", "file"} {
		c := newCache(filepath.Join(t.TempDir(), "acme"), "https://ca.test/dir")
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		if err := c.put("edge.test", []byte("a key")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.get("edge.test"); err != nil {
			t.Fatal(err)
		}
		name := map[string]string{"root": c.root, "dir": c.dir, "file": filepath.Join(c.dir, "edge.test")}[of]
		if err := os.Chown(name, 65534, -1); err != nil {
			t.Fatal(err)
		}
		b, err := c.get("edge.test")
		if err == nil || !strings.Contains(err.Error(), name+" belongs to another user") || len(b) > 0 {
			t.Errorf("%s: %q, %v", of, b, err)
		}
		if err := c.check(); (err == nil) != (of == "file") {
			t.Errorf("%s: %v", of, err)
		}
	}
}
