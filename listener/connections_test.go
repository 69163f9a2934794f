package listener_test

import (
	"net"
	"testing"

	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
	"connect-proxy/listener/relay"
)

func TestOpenConnectionsAreListedWithTheirPhaseAndBytesSoFar(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	o := w.public(app.Addr())
	counted := new(relay.Counters)
	o.Counters = func(listener.Open) *relay.Counters { return counted }
	l := start(t, o)
	c := l.dialTLS(t, w.ca, w.web)
	stranger := l.dial(t)
	l.waitOpened(t, 1)
	for range 3 {
		roundTrip(t, c)
	}
	var served, unproven listener.Connection
	listenertest.Eventually(t, "both are listed and the bytes are counted", func() bool {
		all := l.Connections()
		if len(all) != 2 {
			return false
		}
		served, unproven = all[0], all[1]
		if served.Phase != "relay" {
			served, unproven = unproven, served
		}
		return served.ToClient > 0 && served.ToClient == served.ToUpstream
	})
	if served.Peer != w.web.URI || served.Instance.Address != app.Addr() || served.ID == 0 || served.Start.IsZero() || served.TLSVersion == 0 {
		t.Errorf("the one that is served is %+v", served)
	}
	if unproven.Phase != "handshake" || unproven.Peer != "" || unproven.Client.String() != stranger.LocalAddr().String() {
		t.Errorf("the stranger is %+v", unproven)
	}
	if handshakes, authorizations := l.Pending(); handshakes != 1 || authorizations != 0 {
		t.Errorf("%d are said to be unproven, %d unauthorized", handshakes, authorizations)
	}
	if n := counted.ToClient(); n != served.ToClient {
		t.Errorf("%d bytes of all, %d of the only one", n, served.ToClient)
	}

	if l.CloseConnection(0, listener.ReasonShutdown) || !l.CloseConnection(served.ID, listener.ReasonShutdown) {
		t.Error("closed by another ID than its own")
	}
	expectEnd(t, c, patience)
	if s := l.wait(t, 1)[0]; s.ID != served.ID || s.Reason != listener.ReasonShutdown {
		t.Errorf("summary %+v", s)
	}
	if all := l.Connections(); len(all) != 1 || all[0].ID != unproven.ID {
		t.Errorf("left: %+v", all)
	}
}

func TestConnectionsThatMatchAreClosedAndNoOthers(t *testing.T) {
	w, app := newWorld(t), listenertest.NewEcho(t)
	l := start(t, w.public(app.Addr()))
	a, b, c := l.dialTLS(t, w.ca, w.web), l.dialTLS(t, w.ca, w.web), l.dialTLS(t, w.ca, w.web)
	for _, conn := range []net.Conn{a, b, c} {
		roundTrip(t, conn)
	}
	stays := b.LocalAddr().String()
	asked := 0
	n := l.CloseConnections(func(c listener.Connection) bool {
		asked++
		_ = l.Peers() // no lock is held
		return c.Client.String() != stays
	}, listener.ReasonDestinationChanged)
	if n != 2 || asked != 3 {
		t.Errorf("%d were closed, %d looked at", n, asked)
	}
	expectEnd(t, a, patience)
	expectEnd(t, c, patience)
	for _, s := range l.wait(t, 2) {
		if s.Reason != listener.ReasonDestinationChanged || s.Client.String() == stays {
			t.Errorf("ended: %+v", s)
		}
	}
	roundTrip(t, b)
	if n := l.CloseConnections(func(listener.Connection) bool { return false }, listener.ReasonShutdown); n != 0 {
		t.Errorf("%d were closed that do not match", n)
	}
}
