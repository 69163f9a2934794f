//go:build unix

package fileowner

import (
	"io/fs"
	"os"
	"syscall"
)

// IsThisUser reports whether a file belongs to the user that the program runs as. Where
// files have no such owner, as on Windows, it never does.
func IsThisUser(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid()
}
