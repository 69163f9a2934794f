//go:build !linux

package listenertest

// Descriptors gives the process's open descriptors with what they are, and nil
// where that is not known.
func Descriptors() map[int]string { return nil }
