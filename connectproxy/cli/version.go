package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the release. A build between releases is told apart by the commit
// that the Go command records.
const version = "0.1.0"

// versionText is what the version command prints: enough to tell which build it
// is and what it was built with.
func versionText() string {
	text := "connect-proxy v" + version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text += " (" + s.Value + ")"
			}
		}
	}
	return fmt.Sprintf("%s %s %s/%s", text, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
