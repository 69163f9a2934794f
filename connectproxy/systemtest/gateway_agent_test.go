package systemtest_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// sniGateway does what a mesh gateway does for TCP: it reads the server name of
// a ClientHello and hands the connection on, without a key of its own. A real
// one is Envoy.
type sniGateway struct {
	*listenertest.Server

	mu     sync.Mutex // guards what follows
	routes map[string]string
	name   string
}

func newSNIGateway(t *testing.T) *sniGateway {
	t.Helper()
	g := &sniGateway{routes: make(map[string]string)}
	g.Server = listenertest.NewServer(t, g.serve)
	return g
}

// route says where what is meant for a datacenter goes.
func (g *sniGateway) route(datacenter, address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.routes[datacenter] = address
}

// register has the agent know it as a mesh gateway at these addresses.
func (g *sniGateway) register(a *agenttest.Agent, name, lan, wan string) {
	a.Register(&api.AgentServiceRegistration{
		Kind: api.ServiceKindMeshGateway, Name: name, Address: addressOf(lan).Address, Port: addressOf(lan).Port,
		TaggedAddresses: map[string]api.ServiceAddress{"lan": addressOf(lan), "wan": addressOf(wan)},
	})
}

func addressOf(hostport string) api.ServiceAddress {
	host, port, _ := net.SplitHostPort(hostport)
	n, _ := strconv.Atoi(port)
	return api.ServiceAddress{Address: host, Port: n}
}

// last is the server name of the last ClientHello.
func (g *sniGateway) last() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.name
}

func (g *sniGateway) serve(c *net.TCPConn) {
	name, hello := serverName(c)
	// service.namespace.datacenter.internal.trust-domain
	parts := strings.SplitN(name, ".", 4)
	if len(parts) < 4 {
		return
	}
	g.mu.Lock()
	g.name = name
	to := g.routes[parts[2]]
	g.mu.Unlock()
	d, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer d.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(c, d)
		_ = c.CloseWrite()
	}()
	_, _ = io.Copy(d, io.MultiReader(bytes.NewReader(hello), c))
	_ = d.(*net.TCPConn).CloseWrite()
	<-back
}

var errRead = errors.New("the hello has been read")

// serverName reads a ClientHello by beginning a handshake that goes no further.
func serverName(c net.Conn) (name string, hello []byte) {
	var read bytes.Buffer
	_ = tls.Server(eavesdropper{c, io.TeeReader(c, &read)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name = h.ServerName
			return nil, errRead
		},
	}).Handshake()
	return name, read.Bytes()
}

// eavesdropper is a connection that only listens.
type eavesdropper struct {
	net.Conn
	r io.Reader
}

func (e eavesdropper) Read(p []byte) (int, error)  { return e.r.Read(p) }
func (e eavesdropper) Write(p []byte) (int, error) { return len(p), nil }
