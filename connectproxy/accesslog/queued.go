package accesslog

import (
	"bytes"
	"strings"
	"sync"

	"connect-proxy/connectproxy/logwriter"
	"connect-proxy/listener"
)

const (
	// recordSize is what a record takes while it is queued, without its texts.
	recordSize = 768
	// maxKept bounds each of its texts, in bytes: as long as a SPIFFE ID may be.
	maxKept = 2 << 10
)

// queuedRecord is a connection that has ended, until its record is made. The
// writer's goroutine does that for many together: on the connection's own, the stack
// has to grow for it and caches have other things in them.
type queuedRecord struct {
	summary listener.Summary
	entry   logEntry
	format  format
	text    bytes.Buffer
}

var _ logwriter.Record = (*queuedRecord)(nil)

// queuedRecords spare each connection what is kept of it.
var queuedRecords = sync.Pool{New: func() any { return new(queuedRecord) }}

// newQueuedRecord keeps the text alone of the error, and of where the client asked to
// go: an error may refer to all that a stranger has sent.
func newQueuedRecord(s listener.Summary, source *ListenerInfo, f format) *queuedRecord {
	r := queuedRecords.Get().(*queuedRecord)
	r.summary, r.format = s, f
	r.summary.Err, r.summary.Destination, r.summary.Instance.Session = nil, nil, listener.SessionInfo{}
	r.entry = logEntry{Summary: &r.summary, source: source}
	if s.Err != nil {
		r.entry.problem = s.Err.Error()
	}
	if source.Destination == "" && s.Destination != nil {
		r.entry.destination = s.Destination.String()
	}
	if source.Intention != nil && s.Peer != "" {
		r.entry.intention = source.Intention(s.Peer) // as it is now
	}
	return r
}

// boundTexts cuts the texts that are too long, and returns what r holds in bytes.
func (r *queuedRecord) boundTexts() int {
	size, s, e := recordSize, &r.summary, &r.entry
	for _, text := range [...]*string{
		&s.Listener, &s.Peer, &s.Serial, &s.ServerName, &s.User, &s.Instance.ID, &s.Instance.Address,
		&e.intention, &e.destination, &e.problem,
	} {
		if len(*text) > maxKept {
			*text = strings.Clone((*text)[:maxKept])
		}
		size += len(*text)
	}
	return size
}

// AppendLine makes the record.
func (r *queuedRecord) AppendLine(to []byte) []byte {
	r.text = *bytes.NewBuffer(to)
	r.format.write(&r.text, &r.entry)
	to = r.text.Bytes()
	r.forget()
	return to
}

// forget gives r back, which holds nothing of the connection then.
func (r *queuedRecord) forget() {
	*r = queuedRecord{}
	queuedRecords.Put(r)
}
