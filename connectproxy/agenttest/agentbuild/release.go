package agentbuild

import "fmt"

// Release is one of the pinned agents.
type Release struct {
	// Name is what the command line and testdata/agents call it.
	Name string
	// Version is Consul's.
	Version string
	// Takes is a first build's time on two cores, for the line that says so.
	Takes string
}

var (
	// Managed is the last agent that launches proxies itself. It builds on
	// Linux; on macOS its dependencies are too old for today's Go.
	Managed = Release{Name: "managed", Version: "1.5.3", Takes: "about 2 minutes"}
	// Modern is the newest agent under MPL-2.0 whose modules all verify.
	Modern = Release{Name: "modern", Version: "1.15.4", Takes: "about 3 minutes"}
)

// Named finds a release by its Name.
func Named(name string) (Release, error) {
	for _, r := range []Release{Managed, Modern} {
		if r.Name == name {
			return r, nil
		}
	}
	return Release{}, fmt.Errorf("unknown agent %q: have %q and %q", name, Managed.Name, Modern.Name)
}
