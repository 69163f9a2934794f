//go:build !linux

package systemtest_test

import "testing"

func (p *profiled) exhaust(t *testing.T) (restore func()) {
	t.Skip("the limits of another process can be set on Linux only")
	return nil
}
