package identity

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/secure"
)

// The choices of two proxies need not be the same: whatever both have is used,
// and each protects records in its own way.
func TestProxiesWithAnyChoiceOfTLSUnderstandEachOther(t *testing.T) {
	own := config.TLS{Records: config.OwnRecords, KeyExchange: config.ClassicKeyExchange}
	hybrid := config.TLS{Records: config.CryptoTLSRecords, KeyExchange: config.HybridKeyExchange}
	for name, c := range map[string]struct {
		client, server config.TLS
		want           tls.CurveID
	}{
		"both classic":    {own, own, tls.CurveP256},
		"both hybrid":     {hybrid, hybrid, tls.X25519MLKEM768},
		"a hybrid client": {hybrid, own, tls.X25519},
		"a hybrid server": {own, hybrid, tls.CurveP256},
	} {
		t.Run(name, func(t *testing.T) {
			agent := fakeagent.New(t, fakeagent.Options{})
			start := func(service string, choice config.TLS) *Identity {
				return ready(t, running(t, Options{Client: agent.Client(""), Service: service, TLS: choice}))
			}
			web, api := start("web", c.client), start("api", c.server)
			var fit atomic.Bool
			i := serve(t, "api", func(ctx context.Context, raw net.Conn) (listener.Session, error) {
				s, err := api.Handshake(ServerTLS{})(ctx, raw)
				if err == nil {
					fit.Store(s.Conn.(*secure.Conn).Detachable())
				}
				return s, err
			})
			for _, resumed := range []bool{false, true} {
				conn, err := web.Dial(t.Context(), i.ep)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if got, want := conn.(*secure.Conn).Detachable(), c.client.Records == config.OwnRecords; got != want {
					t.Errorf("the client's records can be taken over: %v", got)
				}
				said, err := io.ReadAll(conn)
				state := conn.(*secure.Conn).ConnectionState()
				if string(said) != "hello" || err != nil || state.CurveID != c.want || state.DidResume != resumed {
					t.Errorf("%q, %v; %v, resumed %v, want %v, %v", said, err, state.CurveID, state.DidResume, c.want, resumed)
				}
				if got, want := fit.Load(), c.server.Records == config.OwnRecords; got != want {
					t.Errorf("the server's records can be taken over: %v", got)
				}
			}
		})
	}
}
