//go:build !linux

package systemtest_test

import "testing"

func unresponsive(t *testing.T) int {
	t.Skip("a queue that is full drops connections on Linux only")
	return 0
}
