//go:build !unix

package fileowner

import "io/fs"

// IsThisUser reports whether a file belongs to the user that the program runs as. Where
// files have no such owner, as on Windows, it never does.
func IsThisUser(fs.FileInfo) bool { return false }
