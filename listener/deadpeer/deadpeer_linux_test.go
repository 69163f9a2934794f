package deadpeer

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnlyAPeerThatAnswersNothingIsLost(t *testing.T) {
	const long, short = 95_000, 3_000 // milliseconds
	tests := map[string]struct {
		info unix.TCPInfo
		want bool
	}{
		"idle for hours":                   {unix.TCPInfo{Last_ack_recv: 10_000_000, Last_data_recv: 10_000_000}, false},
		"sends after hours of rest":        {unix.TCPInfo{Last_ack_recv: 10_000_000, Last_data_recv: 10_000_000, Unacked: 1, Retransmits: 1}, false},
		"retransmits for long":             {unix.TCPInfo{Last_ack_recv: long, Last_data_recv: long, Unacked: 4, Retransmits: 7}, true},
		"retransmits for a moment":         {unix.TCPInfo{Last_ack_recv: short, Last_data_recv: long, Unacked: 4, Retransmits: 3}, false},
		"closed window, probes answered":   {unix.TCPInfo{Last_ack_recv: long, Last_data_recv: long}, false},
		"closed window, probes unanswered": {unix.TCPInfo{Last_ack_recv: long, Last_data_recv: long, Probes: 5}, true},
		"still sends itself":               {unix.TCPInfo{Last_ack_recv: long, Last_data_recv: short, Retransmits: 5}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := silentSince(&tc.info) >= After; got != tc.want {
				t.Errorf("lost %t, want %t", got, tc.want)
			}
		})
	}
	if After+Every >= 2*time.Minute {
		t.Error("found too late")
	}
}
