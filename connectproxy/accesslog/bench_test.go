package accesslog

import (
	"testing"

	"connect-proxy/config"
)

// What a record costs, from the end of its connection to the writer.
func BenchmarkRecord(b *testing.B) {
	for name, json := range map[string]bool{"text": false, "json": true} {
		b.Run(name, func(b *testing.B) {
			f, _, err := newFormat(config.AccessLog{Connections: config.AccessLogAll}, json)
			if err != nil {
				b.Fatal(err)
			}
			s, room := inbound(), make([]byte, 0, 4<<10)
			b.ReportAllocs()
			for b.Loop() {
				r := newQueuedRecord(s, &public, f)
				r.boundTexts()
				r.AppendLine(room)
			}
		})
	}
}
