package events

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"
	"weak"

	"github.com/hashicorp/go-hclog"
)

// logging gives a logger whose lines a History gets.
func logging(level hclog.Level) (hclog.Logger, *History) {
	h := New()
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: level})
	l.RegisterSink(h)
	return l, h
}

func TestAFloodOfRefusalsPushesOutNothingButRefusals(t *testing.T) {
	l, h := logging(hclog.Info)
	l.Info("certificates in force", "serial", "01")
	l.Named("upstream").With("upstream", "db").Warn("instance set aside", "instance", "n1/db-1")
	for i := range 10 * keep {
		l.Info("connection refused", "reason", "handshake_failed", "n", i)
	}
	got := h.Since(0)
	if len(got) != keep+2 {
		t.Fatalf("%d events, want %d", len(got), keep+2)
	}
	if got[0].Kind != Certificate || got[1].Kind != Instance || got[0].Fields["serial"] != "01" {
		t.Errorf("first are %+v", got[:2])
	}
	if got[1].Fields["instance"] != "n1/db-1" || got[1].Level != "warn" {
		t.Errorf("the instance is %+v", got[1])
	}
	if last := got[len(got)-1]; last.Fields["n"] != fmt.Sprint(10*keep-1) {
		t.Errorf("the last refusal is %+v", last)
	}
	for i := 1; i < len(got); i++ {
		if got[i].ID <= got[i-1].ID {
			t.Fatalf("event %d follows %d", got[i].ID, got[i-1].ID)
		}
	}
}

func TestOnlyWhatIsNewsIsKept(t *testing.T) {
	l, h := logging(hclog.Debug)
	l.Debug("connection refused", "reason", "silent")
	l.Info("connection closed", "reason", "closed")
	l.Info("connection closed", "reason", "client_reset")
	l.Warn("connection closed", "reason", "intention_revoked", "peer", "spiffe://x")
	l.Error("something that nobody foresaw")
	got := h.Since(0)
	if len(got) != 2 || got[0].Fields["peer"] != "spiffe://x" || got[1].Kind != Proxy || got[1].Level != "error" {
		t.Errorf("kept %+v", got)
	}
	if later := h.Since(got[0].ID); len(later) != 1 || later[0].ID != got[1].ID {
		t.Errorf("since %d: %+v", got[0].ID, later)
	}
}

// A quiet log is no reason to know nothing.
func TestEventsAreKeptWhateverTheLevelOfTheLog(t *testing.T) {
	l, h := logging(hclog.Off)
	l.Warn("agent does not answer", "error", "connection refused")
	if got := h.Since(0); len(got) != 1 || got[0].Kind != Agent {
		t.Errorf("kept %+v", got)
	}
}

func TestNothingThatAStrangerNamesIsKeptLongOrActsOnATerminal(t *testing.T) {
	l, h := logging(hclog.Info)
	hostile := "\x1b[2J\r\n" + strings.Repeat("ß", maxText)
	args := []any{"peer", hostile, "error", fmt.Errorf("bad: %s", hostile), "reasons", []string{"a", "b"}, "n", hclog.Fmt("%d of %d", 1, 2)}
	for i := range 100 {
		args = append(args, fmt.Sprint("key", i), i)
	}
	l.Warn("connection refused", args...)
	e := h.Since(0)[0]
	if len(e.Fields) != maxFields {
		t.Errorf("%d fields", len(e.Fields))
	}
	for k, v := range e.Fields {
		if len(v) > maxText+len("…") || strings.ContainsAny(v, "\x1b\r\n") {
			t.Errorf("%s is %q", k, v)
		}
	}
	if e.Fields["reasons"] != "a; b" || e.Fields["n"] != "1 of 2" {
		t.Errorf("fields %+v", e.Fields)
	}
}

func TestAnEventKeepsNothingOfWhatItsTextsArePartsOf(t *testing.T) {
	l, h := logging(hclog.Info)
	held := func() weak.Pointer[byte] {
		long := strings.Repeat("x", 64<<10)
		l.Warn("connection refused", "user", long[:10])
		return weak.Make(unsafe.StringData(long))
	}()
	runtime.GC()
	if held.Value() != nil {
		t.Error("the whole text is held")
	}
	if got := h.Since(0); len(got) != 1 || got[0].Fields["user"] != "xxxxxxxxxx" {
		t.Errorf("%+v", got)
	}
}

func TestAHistoryIsSafeForConcurrentUse(t *testing.T) {
	l, h := logging(hclog.Info)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				l.Warn("instance set aside", "instance", "a")
				h.Since(0)
			}
		})
	}
	all.Wait()
	if got := h.Since(0); len(got) != keep || got[keep-1].ID != 800 {
		t.Errorf("%d events, the last is %d", len(got), got[len(got)-1].ID)
	}
}
