package connectproxy

import "time"

// lossEvery is the least time between two lines about what was dropped.
const lossEvery = time.Minute

// loss is what has been logged of lines and records that could not be written.
type loss struct {
	// problem is why the access log could not be written when that was last said.
	problem string
	// records and lines are how many were dropped when that was last said, at the
	// times below.
	records, lines     uint64
	recordsAt, linesAt time.Time
}

// logLoss tells what becomes of the logs, which cannot tell it themselves: the
// history of events has it too.
func (l *loop) logLoss() {
	now, said := time.Now(), &l.logged.loss
	if log := l.o.AccessLog; log != nil {
		problem := ""
		if err := log.Problem(); err != nil {
			problem = err.Error()
		}
		switch {
		case problem == said.problem:
		case problem == "":
			l.logger.Info("access log can be written again", "dropped", log.Dropped())
		default:
			l.logger.Warn("access log cannot be written; connections go on", "error", problem)
		}
		said.problem = problem
		if n := log.Dropped(); n > said.records && now.Sub(said.recordsAt) >= lossEvery {
			l.logger.Warn("records of the access log were dropped: they could not be written in time", "dropped", n-said.records, "total", n)
			said.records, said.recordsAt = n, now
		}
	}
	if l.o.LogDropped == nil {
		return
	}
	// The last line about this may have been dropped itself.
	if n := l.o.LogDropped(); n > said.lines+1 && now.Sub(said.linesAt) >= lossEvery {
		l.logger.Warn("log lines were dropped: they could not be written in time", "dropped", n-said.lines, "total", n)
		said.lines, said.linesAt = n, now
	}
}

// pageNotRead logs that somebody who asked for an admin page does not read it, at
// most once a minute.
func (p *Proxy) pageNotRead(page, problem string) {
	now, last := time.Now().UnixNano(), p.notReadAt.Load()
	if now-last >= int64(lossEvery) && p.notReadAt.CompareAndSwap(last, now) {
		p.logger.Warn("admin page was not read in time; connections go on", "page", page, "reason", problem)
	}
}
