//go:build !unix

package certfiles

import "io/fs"

// othersRead cannot be told from a mode here.
func othersRead(fs.FileMode) bool { return false }
