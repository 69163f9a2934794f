package logwriter

// pipeBuf is what a pipe takes whole or not at all: PIPE_BUF of limits.h.
const pipeBuf = 4096
