package listener

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func summaryOf(r Reason, relayed bool) *Summary {
	s := &Summary{
		Open: Open{
			Client:      &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 4711},
			SessionInfo: SessionInfo{Peer: "spiffe://td/svc/web"},
			Instance:    Instance{Address: "10.0.0.9:80"},
		},
		ToUpstream: 11, ToClient: 22, Duration: 1234567 * time.Nanosecond, Reason: r, Relayed: relayed,
	}
	if r != ReasonClosed {
		s.Err = errors.New("because")
	}
	return s
}

func TestALineSaysWhoAndWhy(t *testing.T) {
	tests := map[string]struct {
		s    *Summary
		want string // empty: no line
	}{
		"closed": {summaryOf(ReasonClosed, true),
			"[INFO]  connection closed: reason=closed client=10.0.0.7:4711 peer=spiffe://td/svc/web instance=10.0.0.9:80 to_upstream=11 to_client=22 duration=1.235ms\n"},
		"denied": {summaryOf(ReasonDenied, false),
			"[WARN]  connection refused: reason=denied client=10.0.0.7:4711 peer=spiffe://td/svc/web instance=10.0.0.9:80 duration=1.235ms error=because\n"},
		"silent": {summaryOf(ReasonSilent, false), ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &out, DisableTime: true})
			new(connLog).closed(log, tc.s)
			if out.String() != tc.want {
				t.Errorf("got  %q\nwant %q", out.String(), tc.want)
			}
		})
	}
}

func TestLinesAreBoundedForEachReasonAndWhatIsLeftOutIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &out})
		var w connLog
		lines := func() int { defer out.Reset(); return strings.Count(out.String(), "\n") }
		for range 1000 {
			w.closed(log, summaryOf(ReasonHandshakeFailed, false))
		}
		if n := lines(); n != refusedBurst {
			t.Errorf("a flood made %d lines", n)
		}
		w.closed(log, summaryOf(ReasonDenied, false))
		if n := lines(); n != 1 {
			t.Error("one reason's flood silences another")
		}
		<-time.After(2 * time.Second) // of the bubble's clock
		w.closed(log, summaryOf(ReasonHandshakeFailed, false))
		if !strings.Contains(out.String(), "suppressed=980") {
			t.Errorf("no count of what was left out: %s", out.String())
		}
		out.Reset()
		for range 5 {
			w.closed(log, summaryOf(ReasonHandshakeFailed, false))
		}
		if n := lines(); n != refusedRate {
			t.Errorf("%d lines after another second's worth", n)
		}
		w.flush(log)
		if !strings.Contains(out.String(), "suppressed=4") {
			t.Errorf("the end leaves out what was left out: %s", out.String())
		}
	})
}
