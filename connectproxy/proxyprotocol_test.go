package connectproxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/fakeagent"
	"connect-proxy/listener"
	"connect-proxy/listener/listenertest"
)

// describeHeader reads a header and says what is in it.
func describeHeader(r *bufio.Reader) (string, error) {
	h, err := proxyproto.Read(r)
	if err != nil {
		return "", err
	}
	fields, err := h.TLVs()
	if err != nil {
		return "", err
	}
	s := "local"
	if h.Command.IsProxy() {
		s = fmt.Sprintf("%s to %s", h.SourceAddr, h.DestinationAddr)
	}
	for _, f := range fields {
		s += fmt.Sprintf(" %#x=%s", byte(f.Type), f.Value)
	}
	return s, nil
}

func TestAHeaderHasWhoCallsFromWhere(t *testing.T) {
	t.Parallel()
	four, six := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.ParseIP("fd00::1"), Port: 2}
	file := &net.UnixAddr{Net: "unix", Name: "/run/web.sock"}
	const id = "spiffe://x.consul/ns/default/dc/dc1/svc/web"
	long := strings.Repeat("a", 256)
	for name, tc := range map[string]struct {
		open listener.Open
		want string
	}{
		"IPv4":             {listener.Open{Client: four, Local: four}, "10.0.0.1:1 to 10.0.0.1:1 0xe0=" + id},
		"IPv6":             {listener.Open{Client: six, Local: six}, "[fd00::1]:2 to [fd00::1]:2 0xe0=" + id},
		"unix socket":      {listener.Open{Client: &net.UnixAddr{Net: "unix"}, Local: file}, "local 0xe0=" + id},
		"name":             {listener.Open{Client: four, Local: four, SessionInfo: listener.SessionInfo{ServerName: "db.default.dc1"}}, "10.0.0.1:1 to 10.0.0.1:1 0xe0=" + id + " 0x2=db.default.dc1"},
		"name of a line":   {listener.Open{Client: four, Local: four, SessionInfo: listener.SessionInfo{ServerName: "a\nb"}}, "10.0.0.1:1 to 10.0.0.1:1 0xe0=" + id},
		"name too long":    {listener.Open{Client: four, Local: four, SessionInfo: listener.SessionInfo{ServerName: long}}, "10.0.0.1:1 to 10.0.0.1:1 0xe0=" + id},
		"longest of names": {listener.Open{Client: four, Local: four, SessionInfo: listener.SessionInfo{ServerName: long[1:]}}, "10.0.0.1:1 to 10.0.0.1:1 0xe0=" + id + " 0x2=" + long[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			tc.open.Peer = id
			header, err := proxyHeader(tc.open)
			if err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(bytes.NewReader(append(header, "request"...)))
			got, err := describeHeader(r)
			if got != tc.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "request" {
				t.Errorf("behind the header: %q", rest)
			}
		})
	}
}

func TestAHeaderThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	a := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
	o := listener.Open{Client: a, Local: a, SessionInfo: listener.SessionInfo{Peer: strings.Repeat("a", 1<<16)}}
	if h, err := proxyHeader(o); err == nil {
		t.Errorf("a header of %d bytes", len(h))
	}
}

// describer is an application that says what header it got, and sends the rest
// back.
func describer(t *testing.T) *listenertest.Server {
	return listenertest.NewServer(t, func(c *net.TCPConn) {
		r := bufio.NewReader(c)
		got, err := describeHeader(r)
		if err != nil {
			got = err.Error()
		}
		_, _ = fmt.Fprintln(c, got)
		_, _ = io.Copy(c, r)
	})
}

// callPublic comes as the proxy of the service web, asking for a name.
func callPublic(t *testing.T, agent *fakeagent.Agent, port int) *talker {
	t.Helper()
	c, err := tls.Dial("tcp", at(port), &tls.Config{
		Certificates: []tls.Certificate{agent.Certificate("web")}, ServerName: "db.example",
		InsecureSkipVerify: true, // the test is about the other side
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(soon))
	return &talker{Conn: c, t: t, r: bufio.NewReader(c)}
}

// callerID is the SPIFFE ID of who comes with callPublic.
func callerID(agent *fakeagent.Agent) string {
	return agent.Certificate("web").Leaf.URIs[0].String()
}

func (c *talker) line() string {
	c.t.Helper()
	s, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSuffix(s, "\n")
}

func TestTheApplicationIsToldWhoCallsWhereTheConfigurationSaysSo(t *testing.T) {
	t.Parallel()
	agent := fakeagent.New(t, fakeagent.Options{})
	for _, records := range []config.TLSRecords{config.OwnRecords, config.CryptoTLSRecords} {
		t.Run(string(records), func(t *testing.T) {
			port := agenttest.FreePorts(t, 1)
			cfg := serving("db", port, describer(t).Addr())
			cfg.TLS.Records = records
			cfg.Public.LocalProxyProtocol = config.ProxyProtocolV2
			e := startEngine(t, agent, cfg).ready()
			c := callPublic(t, agent, port)
			id := callerID(agent)
			if got, want := c.line(), fmt.Sprintf("%s to %s 0xe0=%s 0x2=db.example", c.LocalAddr(), at(port), id); got != want {
				t.Errorf("the application was told %q, want %q", got, want)
			}
			forged, err := proxyHeader(listener.Open{Client: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, Local: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2)}})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(forged)
			back := make([]byte, len(forged))
			if _, err := io.ReadFull(c.r, back); err != nil || !bytes.Equal(back, forged) {
				t.Errorf("of the caller's own header the application got %q, %v", back, err)
			}

			off := serving("db", port, namedApp(t, "app").Addr())
			e.apply(off)
			if got := callPublic(t, agent, port).ask("x"); got != "app" {
				t.Errorf("with the key taken out the application got something before the data: %q", got)
			}
		})
	}
}

func TestTheExampleReadsWhatTheProxySends(t *testing.T) {
	t.Parallel()
	python := agenttest.Program(t, "python3")
	cmd := exec.Command(python, "-I", filepath.Join("..", "examples", "proxy-protocol", "whocalls.py"), "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	said := bufio.NewScanner(out)
	said.Scan()
	app, ok := strings.CutPrefix(said.Text(), "listening on ")
	if !ok {
		t.Fatalf("the example says %q", said.Text())
	}

	agent := fakeagent.New(t, fakeagent.Options{})
	port := agenttest.FreePorts(t, 1)
	cfg := serving("db", port, app)
	cfg.Public.LocalProxyProtocol = config.ProxyProtocolV2
	startEngine(t, agent, cfg).ready()
	c := callPublic(t, agent, port)
	who := fmt.Sprintf("%s from %s to %s, asking for 'db.example'", callerID(agent), c.LocalAddr(), at(port))
	if got := c.line(); got != "you are "+who {
		t.Errorf("the example answers %q, want who %q is", got, who)
	}
	c.echo("data")
	if said.Scan(); said.Text() != who {
		t.Errorf("the example says %q, want %q", said.Text(), who)
	}

	direct, err := net.Dial("tcp", app)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	_, _ = io.WriteString(direct, "GET / HTTP/1.1\r\nHost: db\r\n\r\n")
	if said.Scan(); !strings.HasPrefix(said.Text(), "refused: no PROXY protocol header") {
		t.Errorf("of a stranger the example says %q", said.Text())
	}
}
