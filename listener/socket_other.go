//go:build !linux

package listener

import (
	"io/fs"
	"net"
)

// listenConfig has Go set the keep-alives on every accepted connection.
func listenConfig(fs.FileMode) net.ListenConfig {
	return net.ListenConfig{KeepAliveConfig: keepAlive}
}

// NewDialer gives a dialer whose connections notice a dead peer within two
// minutes, as those that Listen's sockets accept do. It has no timeout of its
// own: the context brings one.
func NewDialer() *net.Dialer { return &net.Dialer{KeepAliveConfig: keepAlive} }
