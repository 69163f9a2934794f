//go:build tools

// Package peers pins the proxies that the benchmark builds from source. It
// holds no code: the go.mod beside it is what matters.
package peers

import _ "github.com/ghostunnel/ghostunnel"
