package agenttest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk mounts a file system in memory at a directory until the test ends, and
// skips the test where that is not permitted. The options are tmpfs's.
func SmallDisk(t testing.TB, dir, options string) {
	t.Helper()
	switch err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES): // the latter of AppArmor
		t.Skipf("mounting a file system takes root with CAP_SYS_ADMIN, and AppArmor to allow it: %v", err)
	case err != nil:
		t.Fatalf("mounting a file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}
