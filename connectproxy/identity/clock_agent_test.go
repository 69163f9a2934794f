package identity

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/upstream"
)

// echoing answers on one connection that stays open.
func echoing(t *testing.T, i *Identity) upstream.Endpoint {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		if s, err := i.Handshake(ServerTLS{})(context.Background(), raw); err == nil {
			_, _ = io.Copy(s.Conn, s.Conn)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return upstream.Endpoint{Address: ln.Addr().String(), Identity: upstream.Identity{Service: "web", Datacenter: "dc1"}}
}

// The leafs of a real agent live for three days, and were valid a minute before
// they were made.
func TestOnARealAgentAClockThatJumpsCutsNothingAndIsForgiven(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	agent := agenttest.Modern(t, agenttest.Options{})
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	web := ready(t, running(t, Options{Client: agent.Client, Service: "web", Now: now}))
	api := ready(t, running(t, Options{Client: agent.Client, Service: "api"}))
	toWeb, toAPI := serve(t, "web", web.Handshake(ServerTLS{})), serve(t, "api", api.Handshake(ServerTLS{}))
	open, err := api.Dial(t.Context(), echoing(t, web))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { open.Close() })
	for _, tc := range []struct {
		name    string
		jump    time.Duration
		served  bool
		problem string // readiness says
	}{
		{"no jump", 0, true, ""},
		{"a minute back", -time.Minute, true, ""},
		{"two days ahead, into the last quarter of the leaf's life", 56 * time.Hour, true, ""},
		{"four days ahead, beyond the leaf's end", 96 * time.Hour, false, "leaf certificate has expired"},
		{"set right", 0, true, ""},
		{"a day back, before anything was issued", -24 * time.Hour, false, "is not valid before"},
		{"set right again", time.Second, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ahead.Store(int64(tc.jump))
			_, in := visit(t, api, toWeb)
			_, out := visit(t, web, toAPI)
			if (in == nil) != tc.served || (out == nil) != tc.served {
				t.Errorf("inbound: %v, outbound: %v", in, out)
			}
			if p := web.Problem(); tc.problem == "" && p != "" || !strings.Contains(p, tc.problem) {
				t.Errorf("problem %q", p)
			}
			line := make([]byte, 5)
			if _, err := open.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(open, line); err != nil || string(line) != "hello" {
				t.Errorf("on the open connection: %q, %v", line, err)
			}
		})
	}
}
