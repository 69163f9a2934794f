//go:build !unix

package regularfile

// openAtOnce is not needed here.
const openAtOnce = 0
