package accesslog

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"connect-proxy/listener"
)

// field is one of a record of our own. The names are those of the operational
// log, the metrics and the admin listener.
type field struct {
	name  string
	value func(*logEntry) fieldValue
}

// fieldValue is what a field has: a text, or a number or truth as JSON has it. The zero
// value leaves the field out. It is no interface, since what is put into one would
// be allocated for each field of each record.
type fieldValue struct {
	kind  byte // one of the below
	text  string
	whole int64
	real  float64
}

const (
	aText byte = 1 + iota
	aWhole
	aReal
	aTruth
)

// fields are a record of our own, in order. A new one is added here, and to
// listener.SessionInfo, Instance, Open or Summary if that does not have it yet.
var fields = []field{
	{"id", func(e *logEntry) fieldValue { return whole(int64(e.ID)) }},
	{"listener", func(e *logEntry) fieldValue { return text(e.Listener) }},
	{"direction", func(e *logEntry) fieldValue { return text(string(e.source.Direction)) }},
	{"source", func(e *logEntry) fieldValue { return text(e.caller()) }},
	{"destination", func(e *logEntry) fieldValue { return text(e.callee()) }},
	{"client", func(e *logEntry) fieldValue { return text(addressOf(e.Client)) }},
	{"user", func(e *logEntry) fieldValue { return text(e.User) }},
	{"peer", func(e *logEntry) fieldValue { return text(e.Peer) }},
	{"instance", func(e *logEntry) fieldValue { return text(e.Instance.ID) }},
	{"instance_address", func(e *logEntry) fieldValue { return text(e.Instance.Address) }},
	{"attempts", func(e *logEntry) fieldValue {
		return onlyIf(e.Instance.Attempts > 0, whole(int64(e.Instance.Attempts)))
	}},
	{"tls_version", func(e *logEntry) fieldValue { return text(tlsVersion(e.TLSVersion)) }},
	{"resumed", func(e *logEntry) fieldValue { return onlyIf(e.TLSVersion != 0, truth(e.Resumed)) }},
	{"sni", func(e *logEntry) fieldValue { return text(e.ServerName) }},
	{"intention", func(e *logEntry) fieldValue { return text(e.intention) }},
	{"to_destination_bytes", func(e *logEntry) fieldValue { return onlyIf(e.Relayed, whole(e.ToUpstream)) }},
	{"to_source_bytes", func(e *logEntry) fieldValue { return onlyIf(e.Relayed, whole(e.ToClient)) }},
	{"handshake_ms", func(e *logEntry) fieldValue { return took(e.Handshake) }},
	{"authorize_ms", func(e *logEntry) fieldValue { return took(e.Authorization) }},
	{"dial_ms", func(e *logEntry) fieldValue { return took(e.Dial) }},
	{"duration_ms", func(e *logEntry) fieldValue { return fieldValue{kind: aReal, real: milliseconds(e.Duration)} }},
	{"reason", func(e *logEntry) fieldValue { return text(e.Reason.String()) }},
	{"error", func(e *logEntry) fieldValue { return text(e.problem) }},
}

func text(s string) fieldValue { return onlyIf(s != "", fieldValue{kind: aText, text: s}) }

func whole(n int64) fieldValue { return fieldValue{kind: aWhole, whole: n} }

func truth(is bool) fieldValue {
	v := fieldValue{kind: aTruth}
	if is {
		v.whole = 1
	}
	return v
}

func took(d time.Duration) fieldValue {
	return onlyIf(d > 0, fieldValue{kind: aReal, real: milliseconds(d)})
}

func onlyIf(given bool, v fieldValue) fieldValue {
	if !given {
		return fieldValue{}
	}
	return v
}

// message and level are what hclog would say.
func (e *logEntry) message() string {
	if e.Relayed {
		return "connection closed"
	}
	return "connection refused"
}

func (e *logEntry) level() string {
	if e.Reason == listener.ReasonClosed || e.Reason == listener.ReasonSilent {
		return "info"
	}
	return "warn"
}

// now is when the connection ended.
func (e *logEntry) now() time.Time { return e.Start.Add(e.Duration) }

// timestamp is the layout of @timestamp, hclog's in JSON.
const timestamp = "2006-01-02T15:04:05.000000Z07:00"

// jsonFormat is a record of our own in JSON, a line each. envoy has the fields of
// Envoy in Consul in front, for pipelines that know these.
type jsonFormat struct{ envoy *template }

var _ format = jsonFormat{}

func (f jsonFormat) write(b *bytes.Buffer, e *logEntry) {
	b.WriteByte('{')
	if f.envoy != nil {
		f.envoy.append(b, e)
		b.WriteByte(',')
	}
	b.WriteString(`"@timestamp":"`)
	b.Write(e.now().AppendFormat(b.AvailableBuffer(), timestamp))
	b.WriteString(`","@level":"`)
	b.WriteString(e.level())
	b.WriteString(`","@message":"`)
	b.WriteString(e.message())
	b.WriteByte('"')
	for _, f := range fields {
		v := f.value(e)
		if v.kind == 0 {
			continue
		}
		b.WriteString(`,"`)
		b.WriteString(f.name)
		b.WriteString(`":`)
		if v.kind == aText {
			writeJSON(b, bounded(v.text))
			continue
		}
		v.writeNumber(b)
	}
	b.WriteString("}\n")
}

func (jsonFormat) missing(n uint64) []byte { return missingJSON(n) }

// textFormat is a record of our own as the operational log has its lines.
type textFormat struct{}

var _ format = textFormat{}

func (textFormat) write(b *bytes.Buffer, e *logEntry) {
	b.Write(e.now().AppendFormat(b.AvailableBuffer(), timestamp))
	if e.level() == "info" {
		b.WriteString(" [INFO]  access: ")
	} else {
		b.WriteString(" [WARN]  access: ")
	}
	b.WriteString(e.message())
	b.WriteByte(':')
	for _, f := range fields {
		v := f.value(e)
		if v.kind == 0 {
			continue
		}
		b.WriteByte(' ')
		b.WriteString(f.name)
		b.WriteByte('=')
		if v.kind == aText {
			writeQuoted(b, bounded(v.text))
			continue
		}
		v.writeNumber(b)
	}
	b.WriteByte('\n')
}

func (textFormat) missing(n uint64) []byte {
	return []byte(time.Now().Format(timestamp) + " [WARN]  access: records are missing here: they could not be written in time: dropped=" +
		strconv.FormatUint(n, 10) + "\n")
}

func missingJSON(n uint64) []byte {
	return []byte(`{"@timestamp":"` + time.Now().Format(timestamp) +
		`","@level":"warn","@message":"records are missing here: they could not be written in time","dropped":` + strconv.FormatUint(n, 10) + "}\n")
}

// writeNumber writes a value that is no text, as JSON has it.
func (v fieldValue) writeNumber(b *bytes.Buffer) {
	to := b.AvailableBuffer()
	switch v.kind {
	case aWhole:
		to = strconv.AppendInt(to, v.whole, 10)
	case aReal:
		to = strconv.AppendFloat(to, v.real, 'f', -1, 64)
	case aTruth:
		to = strconv.AppendBool(to, v.whole != 0)
	}
	b.Write(to)
}

// writeJSON writes s as a JSON string.
func writeJSON(b *bytes.Buffer, s string) {
	if isPlain(s) {
		b.WriteByte('"')
		b.WriteString(s)
		b.WriteByte('"')
		return
	}
	encoded, _ := json.Marshal(s) // strings always can be; what is no UTF-8 is replaced
	b.Write(encoded)
}

// isPlain reports whether s is JSON as it stands, between quotes.
func isPlain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= 0x7f, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

// isWord reports whether s is printable ASCII without what would have it quoted.
func isWord(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c >= 0x7f, c == '"', c == '=', c == '\\':
			return false
		}
	}
	return true
}

// writeQuoted writes s in quotes unless it is one plain word.
func writeQuoted(b *bytes.Buffer, s string) {
	if isWord(s) {
		b.WriteString(s)
		return
	}
	if strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == '"' || r == '=' || r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r)
	}) {
		b.Write(strconv.AppendQuoteToGraphic(b.AvailableBuffer(), s))
		return
	}
	b.WriteString(s)
}
