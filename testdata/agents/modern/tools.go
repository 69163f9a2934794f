//go:build tools

// Package agent pins the Consul agent that tests and the demo run. It holds no
// code: the go.mod beside it is what matters.
package agent

import _ "github.com/hashicorp/consul"
