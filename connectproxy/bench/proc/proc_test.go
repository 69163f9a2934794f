//go:build linux

package proc

import (
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAProcessIsReadWhateverItsName(t *testing.T) {
	for text, want := range map[string]struct {
		state byte
		pgid  int
	}{
		"41 (nginx) S 1 40 40 0 -1":              {'S', 40},
		"41 (a (b) Z 1 2) R 7 -3 4 5":            {'R', -3},
		"41 (tmux: server) Z 1 39 39 0 -1 4 0 0": {'Z', 39},
	} {
		state, pgid, err := parseStat(text)
		if err != nil || state != want.state || pgid != want.pgid {
			t.Errorf("%q: %c, %d, %v", text, state, pgid, err)
		}
	}
	for _, text := range []string{"", "41 nginx S 1 40", "41 (nginx) S", "41 (nginx) S 1 x"} {
		if state, pgid, err := parseStat(text); err == nil {
			t.Errorf("%q: %c, %d", text, state, pgid)
		}
	}
}

func TestMemoryIsTheLineThatIsAskedFor(t *testing.T) {
	const text = "5581-7ffd ---p 00:00 0 [rollup]\nRss:                1234 kB\nPss:                  99 kB\nRss_Huge: 7 kB\n"
	if n, err := kilobytes([]byte(text), "Rss:"); err != nil || n != 1234*1024 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := kilobytes([]byte(text), "Swap:"); err == nil {
		t.Errorf("%d", n)
	}
}

func TestMemoryOfItsOwnAndSharedIsToldApart(t *testing.T) {
	const text = "Rss: 100 kB\nShared_Clean: 20 kB\nShared_Dirty: 3 kB\nPrivate_Clean: 7 kB\nPrivate_Dirty: 70 kB\n"
	if private, shared, err := memory([]byte(text)); err != nil || private != 77<<10 || shared != 23<<10 {
		t.Errorf("%d, %d, %v", private, shared, err)
	}
	if private, shared, err := memory([]byte("Private_Clean: 7 kB\n")); err == nil {
		t.Errorf("%d, %d", private, shared)
	}
	private, shared, err := Memory(os.Getpid())
	all, rssErr := Resident(os.Getpid())
	if err != nil || rssErr != nil || private <= 0 || private+shared > 2*all || 2*(private+shared) < all {
		t.Errorf("%d and %d of %d, %v, %v", private, shared, all, err, rssErr)
	}
}

func TestConnectionsAreCountedAtThePortThatAcceptedThem(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	for want := range 3 {
		if n, err := Connections(port); err != nil || n != want {
			t.Errorf("%d, not %d: %v", n, want, err)
		}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	const table = `  sl  local_address rem_address   st tx_queue
   0: 0100007F:2134 00000000:0000 0A 00000000:00000000
   1: 0100007F:2134 0100007F:9999 01 00000000:00000000
   2: 0100007F:9999 0100007F:2134 01 00000000:00000000
   3: 0100007F:2134 0100007F:9998 08 00000000:00000000
`
	if n := connections([]byte(table), 0x2134); n != 1 {
		t.Errorf("%d", n)
	}
}

func TestTheProcessorSaysItsName(t *testing.T) {
	const text = "processor\t: 0\nvendor_id\t: Some\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: other\n"
	if got := processor([]byte(text)); got != "Some CPU @ 2.00GHz" {
		t.Errorf("%q", got)
	}
}

func TestTheMachineIsDescribedInOneLine(t *testing.T) {
	m := Machine{Processor: "Some CPU", CPUs: 2, Memory: 24_900_000_000, Kernel: "6.1.0", Go: "1.26.8"}
	if got, want := m.String(), "Some CPU, 2 CPUs, 23 GB, Linux 6.1.0, Go 1.26.8"; got != want {
		t.Errorf("%q", got)
	}
}

func TestAProcessIsSeenAtWork(t *testing.T) {
	pid := os.Getpid()
	before, err := CPU(pid)
	if err != nil {
		t.Fatal(err)
	}
	after := before
	for begun := time.Now(); err == nil && after-before < time.Millisecond && time.Since(begun) < 30*time.Second; {
		after, err = CPU(pid)
	}
	if spent := after - before; err != nil || spent < time.Millisecond || spent > 10*time.Second {
		t.Errorf("%s spent, %v", spent, err)
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	now, _ := CPU(pid)
	if usage := time.Duration(own.Utime.Nano() + own.Stime.Nano()); now-usage > time.Second || usage-now > time.Second {
		t.Errorf("the clock says %s, the usage %s", now, usage)
	}
	if _, err := CPU(1<<22 + 1); err == nil {
		t.Error("a process that is not there has a clock")
	}
}

func TestAProcessIsMeasured(t *testing.T) {
	pid := os.Getpid()
	held := make([]byte, 64<<20)
	before, err := Resident(pid)
	if err != nil {
		t.Fatal(err)
	}
	for i := range held {
		held[i] = 1
	}
	if after, err := Resident(pid); err != nil || after-before < 60<<20 {
		t.Errorf("%d after %d, %v: %d", after, before, err, held[0])
	}
	n, err := Descriptors(pid)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if more, err := Descriptors(pid); err != nil || more != n+i+1 {
			t.Errorf("%d after %d, %v", more, n, err)
		}
	}
}

func TestAGroupHasItsMembers(t *testing.T) {
	members, err := Group(syscall.Getpgrp())
	if err != nil || !slices.Contains(members, os.Getpid()) {
		t.Errorf("%v, %v", members, err)
	}
	if members, err := Group(1 << 29); err != nil || len(members) > 0 {
		t.Errorf("%v, %v", members, err)
	}
	if first, last := EphemeralPorts(); first <= 0 || last <= first {
		t.Errorf("%d to %d", first, last)
	}
	var load float64
	if _, err := fmt.Sscan(LoadAverage(), &load); err != nil {
		t.Errorf("%q", LoadAverage())
	}
}
