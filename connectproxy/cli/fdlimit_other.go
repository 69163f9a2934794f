//go:build !unix

package cli

// maxOpenFiles is 0: the system sets no such limit.
func maxOpenFiles() uint64 { return 0 }
