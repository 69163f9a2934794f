package systemtest_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// exhaust sets the process's limit so that no more descriptors are to be had
// than there are gaps between those that are open now.
func (p *profiled) exhaust(t *testing.T) (restore func()) {
	t.Helper()
	highest := 0
	for _, path := range p.descriptors() {
		fd, _ := strconv.Atoi(filepath.Base(path))
		highest = max(highest, fd)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	now := unix.Rlimit{Cur: uint64(highest + 1), Max: before.Max}
	if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, &now, nil); err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, &before, nil) }
}
