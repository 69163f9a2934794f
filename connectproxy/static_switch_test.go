package connectproxy

import (
	"crypto/tls"
	"testing"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/testca"
	"connect-proxy/listener/listenertest"
)

// One CA is withdrawn by naming other files, while a client of it is still in its
// handshake.
func TestAHandshakeByFilesThatAreReplacedReachesNobody(t *testing.T) {
	t.Parallel()
	old, current := testca.New(t, "old"), testca.New(t, "current")
	app, port := listenertest.NewEcho(t), agenttest.FreePort(t)
	config := guarding(identityIn(t, "files", old, old.Issue(t, []string{"dns:redis.example.org"})), port, app.Addr(), "*")
	e := startEngine(t, nil, config).ready()
	client := old.Issue(t, []string{"dns:web.example.org"}).Certificate
	inHandshake, goOn := make(chan struct{}), make(chan struct{})
	late := dialTLS(t, port, &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		close(inHandshake)
		<-goOn
		return &client, nil
	}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = late.Conn.(*tls.Conn).Handshake()
	}()
	<-inHandshake
	e.apply(guarding(identityIn(t, "files", current, current.Issue(t, []string{"dns:redis.example.org"})), port, app.Addr(), "*"))
	dialTLS(t, port, as(current.Issue(t, []string{"dns:web.example.org"}))).echo("of the CA in force")
	before := app.Accepted()
	close(goOn)
	<-done
	late.ends()
	if app.Accepted() != before {
		t.Error("a client of a CA that is not trusted any more reached the application")
	}
}
