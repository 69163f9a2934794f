package statsd

import (
	"maps"
	"strconv"
	"strings"

	"connect-proxy/connectproxy/metrics"
)

// maxPacket keeps packets whole on their way through an Ethernet.
const maxPacket = 1400

// packet is lines that are sent together, and what the counters among them were
// when they were written.
type packet struct {
	lines    []byte
	counters map[string]float64
}

// encode returns packets of lines for what has changed since sent. Gauges and
// counters at rest are sent too, since to a statsd silence is not zero.
func encode(o Options, sent map[string]float64) (packets []packet) {
	p := packet{counters: make(map[string]float64)}
	for _, s := range o.Samples() {
		name := s.Full
		if o.Tagged {
			name = s.Name
		}
		if o.Prefix != "" {
			name = o.Prefix + "." + name
		}
		name = clean(name)
		tags := ""
		if o.Tagged {
			tags = tagsOf(o.Tags, s.Tags)
		}
		key := name + tags
		value, kind := s.Value, "|g"
		if !s.Gauge {
			value, kind = s.Value-sent[key], "|c"
			if value < 0 {
				value = s.Value // it was counted anew from zero
			}
		}
		line := name + ":" + strconv.FormatFloat(value, 'f', -1, 64) + kind + tags + "\n"
		if len(p.lines)+len(line) > maxPacket && len(p.lines) > 0 {
			packets = append(packets, p)
			p = packet{counters: make(map[string]float64)}
		}
		p.lines = append(p.lines, line...)
		if !s.Gauge {
			p.counters[key] = s.Value
		}
	}
	if len(p.lines) > 0 {
		packets = append(packets, p)
	}
	return packets
}

// countersOf are those of all packets together.
func countersOf(packets []packet) map[string]float64 {
	all := make(map[string]float64)
	for _, p := range packets {
		maps.Copy(all, p.counters)
	}
	return all
}

// tagsOf are tags in Datadog's form, those given first.
func tagsOf(given []string, tags []metrics.Tag) string {
	all := make([]string, 0, len(given)+len(tags))
	for _, t := range given {
		name, value, found := strings.Cut(t, ":")
		if found {
			value = ":" + clean(value)
		}
		all = append(all, clean(name)+value)
	}
	for _, t := range tags {
		all = append(all, clean(t.Name)+":"+clean(t.Value))
	}
	if len(all) == 0 {
		return ""
	}
	return "|#" + strings.Join(all, ",")
}

// clean replaces what would end a name, a tag or a line: names of services are
// somebody else's.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(":|@#,", r) {
			return '_'
		}
		return r
	}, s)
}
