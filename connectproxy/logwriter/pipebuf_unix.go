//go:build unix && !linux

package logwriter

// pipeBuf is what a pipe takes whole or not at all: what POSIX asks of PIPE_BUF
// at least, and what macOS and the BSDs have.
const pipeBuf = 512
