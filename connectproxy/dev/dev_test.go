package dev

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAProxyIsStartedAgainAsAgentsDo(t *testing.T) {
	for starts, want := range map[int]time.Duration{
		1: 0, 2: 0, 3: 2 * time.Second, 4: 4 * time.Second, 7: 32 * time.Second, 8: time.Minute, 1000: time.Minute,
	} {
		if got := pauseAfter(starts); got != want {
			t.Errorf("after %d starts %s, want %s", starts, got, want)
		}
	}
}

func TestAProxyIsLedToThisAgentAlone(t *testing.T) {
	for name, value := range map[string]string{
		"CONSUL_HTTP_ADDR": "consul.example:8500", "CONSUL_HTTP_TOKEN": "secret", "CONSUL_HTTP_SSL": "true",
		"CONNECT_PROXY_ID": "other", "CONNECT_PROXY_TOKEN": "other", "CONNECT_SIDECAR_FOR": "other",
		"CONNECT_PROXY_TLS_RECORDS": "crypto/tls", "DEV_TEST": "kept",
	} {
		t.Setenv(name, value)
	}
	env := environment("127.0.0.1:8500", "web-proxy", "token")
	var ours []string
	for _, kv := range env {
		if strings.HasPrefix(kv, "CONSUL_") || strings.HasPrefix(kv, "CONNECT_") || strings.HasPrefix(kv, "DEV_TEST") {
			ours = append(ours, kv)
		}
	}
	slices.Sort(ours)
	want := []string{
		"CONNECT_PROXY_ID=web-proxy", "CONNECT_PROXY_TLS_RECORDS=crypto/tls", "CONNECT_PROXY_TOKEN=token",
		"CONSUL_HTTP_ADDR=http://127.0.0.1:8500", "DEV_TEST=kept",
	}
	if !slices.Equal(ours, want) {
		t.Errorf("%q, want %q", ours, want)
	}
}

func TestAPortThatIsTakenIsSaidIfItWasAskedForAndGoneRoundIfNot(t *testing.T) {
	taken, err := net.Listen("tcp", loopback(0))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := listenAgent(taken.Addr().String()); err == nil || !strings.Contains(err.Error(), "somebody listens there already") {
		t.Errorf("%v", err)
	}
	other, err := listenNear(portOf(taken))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if portOf(other) == portOf(taken) || !other.Addr().(*net.TCPAddr).IP.IsLoopback() {
		t.Errorf("bound %s", other.Addr())
	}
}

func TestLogsAreKeptBackUntilAllIsReady(t *testing.T) {
	var out bytes.Buffer
	l := &logs{to: &out}
	w := l.of("web-proxy")
	for range 2 * keptLines {
		if _, err := w.Write([]byte("starting\n")); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() > 0 || len(l.kept) != keptLines {
		t.Errorf("%d bytes were shown, %d lines kept", out.Len(), len(l.kept))
	}
	l.follow()
	for _, part := range []string{"one\ntw", "o\n", strings.Repeat("x", maxLine+10), "\n"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	got := out.String()
	if !strings.HasPrefix(got, "web-proxy  one\nweb-proxy  two\nweb-proxy  xxx") || strings.Contains(got, "starting") {
		t.Errorf("%.200q", got)
	}
	if n := strings.Count(got, "x") - strings.Count(got, "proxy"); n != maxLine+10 {
		t.Errorf("%d of the bytes of a long line were shown", n)
	}
}

func TestTheLogsOfAStartThatFailsAreShown(t *testing.T) {
	var out bytes.Buffer
	l := &logs{to: &out}
	_, _ = l.of("api-proxy").Write([]byte("no such thing\n"))
	l.show()
	if out.String() != "api-proxy  no such thing\n" {
		t.Errorf("%q", out.String())
	}
}
