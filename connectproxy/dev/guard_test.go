//go:build unix

package dev

import (
	"os/exec"
	"testing"
	"time"
)

func sleeper(t *testing.T) (*exec.Cmd, <-chan error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return cmd, ended
}

func TestAGuardKillsWhatItWatchesWhenItsInputEnds(t *testing.T) {
	g, err := startGuard()
	if err != nil {
		t.Fatal(err)
	}
	one, oneEnded := sleeper(t)
	two, twoEnded := sleeper(t)
	three, threeEnded := sleeper(t)
	for _, cmd := range []*exec.Cmd{one, two, three} {
		g.watch(cmd.Process.Pid)
	}
	g.forget(two.Process.Pid)
	g.close() // as the end of this process would
	for name, ended := range map[string]<-chan error{"the first": oneEnded, "the last": threeEnded} {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s goes on", name)
		}
	}
	select {
	case <-twoEnded:
		t.Error("what it was told to forget has ended too")
	case <-time.After(100 * time.Millisecond):
	}
	_ = two.Process.Kill()
	<-twoEnded
}
