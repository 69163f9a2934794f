//go:build unix

package certfiles

import "io/fs"

// othersRead reports whether users beyond owner and group may read a file.
func othersRead(m fs.FileMode) bool { return m.Perm()&0o004 != 0 }
