package edge

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

func TestACacheOnADiskThatHasRoomAgainIsUsedSoonAndToldOfOnce(t *testing.T) {
	t.Parallel()
	ca := newFakeCA(t)
	root := ca.acme().CacheDir
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	agenttest.SmallDisk(t, root, "size=16k,mode=700")
	e, log := ca.ordering()
	const full, over = "no certificate can be ordered or renewed", "can be ordered and renewed again"
	var looked time.Time // each look makes a file in the directory, and removes it
	for range 4 {
		listenertest.Eventually(t, "it is looked whether there is room", func() bool {
			info, err := os.Stat(newCache(root, ca.acme().DirectoryURL).dir)
			if err != nil || !info.ModTime().After(looked) {
				return false
			}
			looked = info.ModTime()
			return true
		})
	}
	if problems := e.Problems(); len(problems) != 2 || !strings.Contains(problems[0], "no space left") {
		t.Errorf("%q", problems)
	}
	if has(e, "edge.test") || ca.asked.Load() > 0 {
		t.Error("a certificate was ordered that cannot be kept")
	}
	if err := unix.Mount("", root, "", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	listenertest.Eventually(t, "there is a certificate", func() bool { return has(e, "edge.test") })
	if problems := e.Problems(); len(problems) != 0 {
		t.Errorf("%q", problems)
	}
	for _, line := range []string{full, over} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q was said %d times", line, n)
		}
	}
}
