//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package agentbuild

import "context"

// lock does nothing where there is no flock: several processes may then build
// at once, which wastes time, and each renames a whole binary into place.
func lock(context.Context, string, func()) (unlock func(), err error) {
	return func() {}, nil
}
