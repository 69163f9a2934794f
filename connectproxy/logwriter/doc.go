// Package logwriter writes everything that the program logs. Whoever reads a log may
// fail: a pipe whose reader has stopped, a terminal that was closed, a disk that is
// full. None of this may block the code that logs, use memory without limit, or keep
// the process from ending.
//
// Write queues a line and returns. Lines that do not fit into the queue are dropped and
// counted; once the log can be written again, a line says how many are missing. A line
// is always queued or dropped as a whole. Lines that wait are written together, as many
// as a pipe takes at once. Queue takes a line that is still to be made: the goroutine
// that writes makes it.
//
// One goroutine writes. It waits in poll(2) and not in write(2), which nothing could
// interrupt: a pipe that is ready takes PIPE_BUF bytes at once. The descriptor's
// O_NONBLOCK is left as it is, since other processes may share the descriptor. If
// another writer fills the pipe in between, or there is no poll(2), write(2) may still
// block; then only that goroutine is stuck.
//
// A file may be given by name (StartPath) and may then be rotated.
//
// Close ends the goroutine and waits for it, for as long as it is told to and no
// longer.
package logwriter
