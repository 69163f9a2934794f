package connectproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/connectproxy/agenttest/testca"
	"connect-proxy/listener/listenertest"
)

// peerProgram is another program that does what this one does, on one side.
type peerProgram struct {
	name string
	// client and server start it until the test ends: from accept to connect with
	// the files in dir, by one version of TLS.
	client, server func(t *testing.T, dir, accept, connect string, version uint16)
	// halfClose says whether it passes the end of one direction on. A reset is an
	// end to all of them.
	halfClose bool
}

// runPeer starts a program and ends it with the test.
func runPeer(t *testing.T, name string, args ...string) {
	t.Helper()
	log := &agenttest.Log{}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, log)
		}
	})
}

func stunnel(client bool) func(t *testing.T, dir, accept, connect string, version uint16) {
	return func(t *testing.T, dir, accept, connect string, version uint16) {
		t.Helper()
		v := "TLSv1." + map[uint16]string{tls.VersionTLS12: "2", tls.VersionTLS13: "3"}[version]
		conf := filepath.Join(t.TempDir(), "stunnel.conf")
		text := fmt.Sprintf("foreground = yes\npid =\n[peer]\nclient = %s\naccept = %s\nconnect = %s\ncert = %s/cert.pem\nkey = %[4]s/key.pem\nCAfile = %[4]s/ca.pem\nverifyChain = yes\nsslVersionMin = %[5]s\nsslVersionMax = %[5]s\n",
			map[bool]string{true: "yes", false: "no"}[client], accept, connect, dir, v)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		runPeer(t, "stunnel", conf)
	}
}

func ghostunnel(mode string, more ...string) func(t *testing.T, dir, accept, connect string, version uint16) {
	return func(t *testing.T, dir, accept, connect string, version uint16) {
		t.Helper()
		args := append([]string{mode, "--listen", accept, "--target", connect,
			"--cert", dir + "/cert.pem", "--key", dir + "/key.pem", "--cacert", dir + "/ca.pem"}, more...)
		if version == tls.VersionTLS13 {
			args = append(args, "--max-tls-version", "TLS1.3")
		} else {
			args = append(args, "--max-tls-version", "TLS1.2")
		}
		runPeer(t, "ghostunnel", args...)
	}
}

var peerPrograms = []peerProgram{
	{name: "stunnel", client: stunnel(true), server: stunnel(false), halfClose: true},
	{name: "ghostunnel", client: ghostunnel("client"), server: ghostunnel("server", "--allow-cn", "web"), halfClose: true},
}

// listeningApp answers a line with itself, and what it has read to its end with
// how long it was. It counts the connections that have ended.
func listeningApp(t *testing.T) (app *listenertest.Server, ended *atomic.Int32) {
	t.Helper()
	ended = &atomic.Int32{}
	return listenertest.NewServer(t, func(c *net.TCPConn) {
		_ = c.SetDeadline(time.Now().Add(soon))
		first := make([]byte, 6)
		if _, err := io.ReadFull(c, first); err != nil {
			return
		}
		_, _ = c.Write(first)
		rest, _ := io.ReadAll(c)
		ended.Add(1)
		_, _ = fmt.Fprintf(c, "%d bytes", len(rest))
	}), ended
}

func TestOtherTunnelsAreServedAndServe(t *testing.T) {
	t.Parallel()
	ca := testca.New(t, "ours")
	server := ca.Issue(t, []string{"ip:127.0.0.1", "cn:redis"})
	client := ca.Issue(t, []string{"cn:web"})
	for _, peer := range peerPrograms {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(peer.name+" as client "+tls.VersionName(version), func(t *testing.T) {
				agenttest.Program(t, peer.name)
				app, ended := listeningApp(t)
				ports, dir := agenttest.FreePorts(t, 2), t.TempDir()
				ca.Write(t, dir, client)
				e := startEngine(t, nil, guarding(identityIn(t, "files", ca, server), ports, app.Addr(), "cn:web")).ready()
				peer.client(t, dir, at(ports+1), at(ports), version)
				passes(t, ports+1, peer, ended)
				if log := e.log.String(); !strings.Contains(log, "peer=cn:web") {
					t.Error("the log does not name the peer")
				}
			})
			t.Run(peer.name+" as server "+tls.VersionName(version), func(t *testing.T) {
				agenttest.Program(t, peer.name)
				app, ended := listeningApp(t)
				ports, dir := agenttest.FreePorts(t, 2), t.TempDir()
				ca.Write(t, dir, server)
				peer.server(t, dir, at(ports), app.Addr(), version)
				c := reaching(identityIn(t, "files", ca, client), ports+1, "", at(ports))
				c.Upstreams[0].PassiveHealth = config.PassiveHealth{Disabled: true}
				startEngine(t, nil, c).ready()
				passes(t, ports+1, peer, ended)
			})
		}
	}
}

// passes holds what goes through the tunnel at the port: bytes, an end of one
// direction, a reset.
func passes(t *testing.T, port int, peer peerProgram, ended *atomic.Int32) {
	t.Helper()
	open := func() *net.TCPConn {
		var c net.Conn
		agenttest.Eventually(t, 2*soon, func() (err error) {
			if c, err = net.Dial("tcp", at(port)); err != nil {
				return err
			}
			_ = c.SetDeadline(time.Now().Add(soon))
			if _, err = c.Write([]byte("hello\n")); err == nil {
				_, err = io.ReadFull(c, make([]byte, 6))
			}
			if err != nil {
				c.Close()
			}
			return err
		})
		return c.(*net.TCPConn)
	}
	c := open()
	if peer.halfClose {
		const size = 1 << 20
		go func() { // the answer comes behind the end
			_, _ = c.Write(make([]byte, size))
			_ = c.CloseWrite()
		}()
		if got, err := io.ReadAll(c); err != nil || string(got) != fmt.Sprintf("%d bytes", size) {
			t.Errorf("half-closed: %q, %v", got, err)
		}
	}
	c.Close()
	before := ended.Load()
	cut := open()
	_ = cut.SetLinger(0)
	cut.Close()
	agenttest.Eventually(t, soon, func() error {
		if ended.Load() <= before {
			return errors.New("the end has not come")
		}
		return nil
	})
}
