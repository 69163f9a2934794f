// Package logwriter is the one way out for everything that the program logs. A
// log is read by somebody else: a pipe whose reader has stopped, a terminal that
// was closed, a disk that is full. None of that may hold who logs, take memory
// without end, or keep the process from ending.
//
// Write queues a line and returns. What does not fit into the queue is dropped
// and counted, and where the gap is the log says so once it can be written again.
// A line is queued and dropped as a whole.
//
// One goroutine writes. It waits in poll(2) rather than in write(2), which
// nothing could end: a pipe that has room takes PIPE_BUF bytes at once. The
// descriptor's O_NONBLOCK is left as it is, since others have the descriptor
// too. Where another writer takes the room in between, or there is no poll(2),
// write(2) may block all the same; then it holds that goroutine alone.
//
// Close ends the goroutine and waits for it, as long as it is told to and no
// longer.
package logwriter
