package logwriter

import "time"

// keptRoom is how large a buffer may be that is kept for the next lines: what a
// burst has taken is given back.
const keptRoom = 64 << 10

// Record is a line that is made when it is about to be written. Whatever it refers
// to must not change.
type Record interface {
	// AppendLine appends the line, with its line end. It is called once at most, by
	// the Writer's own goroutine.
	AppendLine(to []byte) []byte
}

// queue is lines in the order in which they came. The texts of those that are made
// already lie behind one another.
type queue struct {
	lines []line
	text  []byte
}

// line is one Write or Queue, and how many lines are missing before it.
type line struct {
	record  Record // nil for one that is made already, whose text has
	n       int    // bytes
	size    int    // what it takes of Options.Size
	missing uint64
}

// reset empties q and keeps its room, unless that is large.
func (q *queue) reset() {
	clear(q.lines)
	q.lines, q.text = q.lines[:0], q.text[:0]
	if cap(q.text) > keptRoom || cap(q.lines) > keptRoom/lineOverhead {
		*q = queue{}
	}
}

// Queue queues a line that is still to be made, or drops it, and reports which. It
// counts as size bytes of Options.Size, which is to be what r holds at most.
func (w *Writer) Queue(r Record, size int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.add(line{record: r, size: size + lineOverhead})
}

// add queues or drops a line. It is called with mu held.
func (w *Writer) add(l line) bool {
	limit := w.o.Size
	if w.missing > 0 {
		limit /= 2 // one long gap rather than many short ones
	}
	if w.size+l.size > limit || !w.until.IsZero() {
		w.missing++
		w.dropped.Add(1)
		return false
	}
	l.missing, w.missing = w.missing, 0
	w.queue.lines = append(w.queue.lines, l)
	w.size += l.size
	w.unwritten++
	if w.size >= w.o.Size/2 {
		select {
		case w.half <- struct{}{}:
		default: // it has been told
		}
	}
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
	return true
}

// next waits for lines and exchanges the queue for an empty one. They count against
// Size until they are written. No line at all, but some that are missing, is a gap at
// the end. It says false when there is nothing left and nothing will come.
func (w *Writer) next(lines *queue) (missing uint64, ok bool) {
	for {
		w.mu.Lock()
		over := !w.until.IsZero()
		switch {
		case len(w.queue.lines) > 0:
			if wait := w.o.Gather - time.Since(w.written); wait > 0 && !over && w.size < w.o.Size/2 {
				w.mu.Unlock()
				w.gather(wait)
				continue
			}
			*lines, w.queue = w.queue, *lines
			w.mu.Unlock()
			return 0, true
		case w.missing > 0:
			missing, w.missing = w.missing, 0
			w.mu.Unlock()
			return missing, true
		}
		w.mu.Unlock()
		if over {
			return 0, false
		}
		select {
		case <-w.wake:
		case <-w.closing:
		}
	}
}

// writeAll writes lines, as many at a time as may be, and what is said of those that
// are missing between them. It says false when the time to end has come instead.
func (w *Writer) writeAll(lines *queue) bool {
	text, first := lines.text, 0 // first is the first line in w.batch
	for i, l := range lines.lines {
		if l.missing > 0 {
			if !w.writeBatch(lines.lines[first:i]) || !w.deliver(w.noticeOf(l.missing)) {
				return false
			}
			first = i
		}
		before := len(w.batch)
		if l.record != nil {
			w.batch = l.record.AppendLine(w.batch)
		} else {
			w.batch, text = append(w.batch, text[:l.n]...), text[l.n:]
		}
		if before > 0 && len(w.batch) > w.to.together() {
			last := w.batch[before:]
			w.batch = w.batch[:before]
			if !w.writeBatch(lines.lines[first:i]) {
				return false
			}
			w.batch, first = append(w.batch, last...), i
		}
	}
	return w.writeBatch(lines.lines[first:])
}

// writeBatch writes what is in w.batch, which is lines, and has them no longer count.
func (w *Writer) writeBatch(lines []line) bool {
	if !w.deliver(w.batch) {
		return false
	}
	if w.batch = w.batch[:0]; cap(w.batch) > keptRoom {
		w.batch = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range lines {
		w.size -= l.size
	}
	w.unwritten -= len(lines)
	return true
}
