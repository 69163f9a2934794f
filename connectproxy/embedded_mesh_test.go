package connectproxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
	"connect-proxy/connectproxy/devagent"
	"connect-proxy/connectproxy/register"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// exampleMesh is an agent in this process and what runs on it. It panics on what
// cannot fail.
type exampleMesh struct {
	ctx    context.Context
	cancel context.CancelFunc
	agent  *devagent.Agent
	client *api.Client
	port   int // free at the start
	work   sync.WaitGroup
}

func startExample() *exampleMesh {
	agent, err := devagent.New(devagent.Options{})
	must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	m := &exampleMesh{agent: agent, port: freePort()}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.work.Go(func() { _ = agent.Run(m.ctx, ln) })
	m.client, err = api.NewClient(&api.Config{Address: ln.Addr().String()})
	must(err)
	return m
}

func (m *exampleMesh) stop() {
	m.cancel()
	m.work.Wait()
}

// run runs a proxy until the mesh ends.
func (m *exampleMesh) run(o connectproxy.Options, c config.Config) *connectproxy.Proxy {
	source, err := config.NewStatic(c)
	must(err)
	o.Source, o.Client = source, m.client
	proxy, err := connectproxy.New(o)
	must(err)
	m.work.Go(func() { must(proxy.Run(m.ctx)) })
	return proxy
}

// host has a service of this process's own in the mesh.
func (m *exampleMesh) host(service string) *listener.InProcess {
	in := listener.NewInProcess()
	m.run(connectproxy.Options{
		InProcess: in,
		Register:  &register.Options{ID: service + "-proxy", Name: service + "-proxy", Address: "127.0.0.1"},
	}, config.Config{Service: service, Public: &config.Public{Bind: config.Address{Host: "127.0.0.1", Port: freePort()}}})
	m.await(service)
	return in
}

// await waits until the agent shows an instance of a service.
func (m *exampleMesh) await(service string) {
	must(listenertest.Poll(soon, nil, func() error {
		found, _, err := m.client.Health().Connect(service, "", true, nil)
		if err == nil && len(found) == 0 {
			err = errors.New("there is no instance of " + service)
		}
		return err
	}))
}

// serve answers every request to a service by text.
func (m *exampleMesh) serve(service, text string) {
	in := m.host(service)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })}
	m.work.Go(func() { _ = server.Serve(in) })
}

// echo sends back what a service gets.
func (m *exampleMesh) echo(service string) {
	m.echoOn(m.host(service))
}

func (m *exampleMesh) echoOn(in *listener.InProcess) {
	m.work.Go(func() {
		for {
			c, err := in.Accept()
			if err != nil {
				return
			}
			m.work.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
}

// dialler is the proxy of a service that only dials.
func (m *exampleMesh) dialler(service string, to ...string) *connectproxy.Proxy {
	c := config.Config{Service: service}
	for _, name := range to {
		c.Upstreams = append(c.Upstreams, config.Upstream{Destination: config.Destination{Name: name}})
	}
	return m.run(connectproxy.Options{}, c)
}

// call makes one request from a service to another.
func (m *exampleMesh) call(from, to string) string {
	m.await(to)
	proxy := m.dialler(from, to)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return proxy.Dial(ctx, to) },
	}}
	answer, err := client.Get("http://" + to + "/")
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(err)
	return string(text)
}

// awaitReady waits until a proxy listens.
func awaitReady(proxy *connectproxy.Proxy) {
	must(listenertest.Poll(soon, nil, func() error {
		if s := proxy.Status(); !s.Ready {
			return errors.New(strings.Join(s.Reasons, "; "))
		}
		return nil
	}))
}

func freePort() int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprint("the example's mesh: ", err))
	}
}

// exampleTB has what an example, which gets no testing.TB, makes with listenertest
// panic on what cannot fail.
type exampleTB struct{ testing.TB }

func (exampleTB) Helper() {}

func (exampleTB) Fatalf(format string, args ...any) { must(fmt.Errorf(format, args...)) }

// exampleCA issues the certificates of a mesh without Consul.
type exampleCA struct {
	cert  *listenertest.Certificate
	roots *x509.CertPool
}

func newExampleCA() *exampleCA {
	ca := &exampleCA{roots: x509.NewCertPool()}
	ca.cert = ca.issue(x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "example"},
	})
	ca.roots.AddCert(ca.cert.Certificate)
	return ca
}

// leaf is a certificate with its key, for one URI.
func (ca *exampleCA) leaf(uri string) tls.Certificate {
	u, err := url.Parse(uri)
	must(err)
	return ca.issue(x509.Certificate{
		URIs:        []*url.URL{u},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}).TLS()
}

// issue signs a certificate by the CA's, and the CA's by itself.
func (ca *exampleCA) issue(c x509.Certificate) *listenertest.Certificate {
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	return listenertest.Issue(exampleTB{}, c, ca.cert)
}
