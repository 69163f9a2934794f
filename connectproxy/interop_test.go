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
	"sync"
	"syscall"
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
	// halfClose reports whether it passes the end of one direction on. A reset is an
	// end to all of them.
	halfClose func(t *testing.T) bool
}

// runPeer starts a program, if it is installed, and ends it with the test.
func runPeer(t *testing.T, name string, args ...string) {
	t.Helper()
	log, path := &agenttest.Log{}, agenttest.Program(t, name)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, path, args...)
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
		newest := map[uint16]string{tls.VersionTLS12: "TLS1.2", tls.VersionTLS13: "TLS1.3"}[version]
		switch {
		case ghostunnelTakes(t, "--max-tls-version", newest):
			args = append(args, "--max-tls-version", newest)
		case version != tls.VersionTLS13:
			t.Skip("this version of ghostunnel cannot be told to speak an older TLS than 1.3")
		}
		runPeer(t, "ghostunnel", args...)
	}
}

// ghostunnelTakes reports whether the ghostunnel that is installed knows a flag. Its
// help does not show all of them.
func ghostunnelTakes(t *testing.T, flag, value string) bool {
	t.Helper()
	said, err := agenttest.RunProgram(t, nil, "", "ghostunnel", flag, value, "--version")
	if err != nil && !strings.Contains(said, "unknown long flag") {
		t.Fatalf("ghostunnel %s: %v\n%s", flag, err, said)
	}
	return err == nil
}

var peerPrograms = []peerProgram{
	{name: "stunnel", client: stunnel(true), server: stunnel(false), halfClose: func(*testing.T) bool { return true }},
	{name: "ghostunnel", client: ghostunnel("client"), server: ghostunnel("server", "--allow-cn", "web"), halfClose: func(t *testing.T) bool {
		t.Helper()
		return ghostunnelTakes(t, "--close-timeout", "10s") // how long it waits for the other direction
	}},
}

// lineApp answers the line that a connection begins with with itself, and what it
// reads then, to its end, with how long it was. The line "reset" has it reset the
// connection at the next byte.
type lineApp struct {
	*listenertest.Server
	mu   sync.Mutex // guards ends
	ends map[string]ending
}

// ending is how a connection ended for one side: by a reset, or in an orderly way.
type ending string

const (
	aReset    ending = "a reset"
	anOrderly ending = "an orderly end"
)

// endingOf reads a connection to its end.
func endingOf(c net.Conn) (ending, []byte, error) {
	rest, err := io.ReadAll(c)
	switch {
	case err == nil:
		return anOrderly, rest, nil
	case errors.Is(err, syscall.ECONNRESET):
		return aReset, rest, nil
	}
	return "", rest, err
}

const lineLen = 6

func startLineApp(t *testing.T) *lineApp {
	t.Helper()
	a := &lineApp{ends: map[string]ending{}}
	a.Server = listenertest.NewServer(t, func(c *net.TCPConn) {
		_ = c.SetDeadline(time.Now().Add(soon))
		line := make([]byte, lineLen)
		if _, err := io.ReadFull(c, line); err != nil {
			return
		}
		_, _ = c.Write(line)
		if string(line) == "reset\n" {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
			return // which closes it
		}
		how, rest, err := endingOf(c)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.ends[string(line)] = how
		a.mu.Unlock()
		_, _ = fmt.Fprintf(c, "%d bytes", len(rest))
	})
	return a
}

// ended is how the connection with that line did.
func (a *lineApp) ended(t *testing.T, line string) (how ending) {
	t.Helper()
	agenttest.Eventually(t, soon, func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if how = a.ends[line]; how == "" {
			return errors.New("the end has not come")
		}
		return nil
	})
	return how
}

func TestOtherTunnelsAreServedAndServe(t *testing.T) {
	t.Parallel()
	ca := testca.New(t, "ours")
	server := ca.Issue(t, []string{"ip:127.0.0.1", "cn:redis"})
	client := ca.Issue(t, []string{"cn:web"})
	for _, peer := range peerPrograms {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(peer.name+" as client "+tls.VersionName(version), func(t *testing.T) {
				app := startLineApp(t)
				ports, dir := agenttest.FreePorts(t, 2), t.TempDir()
				ca.Write(t, dir, client)
				e := startEngine(t, nil, guarding(identityIn(t, "files", ca, server), ports, app.Addr(), "cn:web")).ready()
				peer.client(t, dir, at(ports+1), at(ports), version)
				passes(t, ports+1, app, peer)
				logs(t, e, "peer=cn:web", "reason=upstream_reset")
			})
			t.Run(peer.name+" as server "+tls.VersionName(version), func(t *testing.T) {
				app := startLineApp(t)
				ports, dir := agenttest.FreePorts(t, 2), t.TempDir()
				ca.Write(t, dir, server)
				peer.server(t, dir, at(ports), app.Addr(), version)
				c := reaching(identityIn(t, "files", ca, client), ports+1, "", at(ports))
				c.Upstreams[0].PassiveHealth = config.PassiveHealth{Disabled: true}
				e := startEngine(t, nil, c).ready()
				passes(t, ports+1, app, peer)
				logs(t, e, "reason=client_reset")
			})
		}
	}
}

// logs waits until all the words are in the log of this program.
func logs(t *testing.T, e *engine, words ...string) {
	t.Helper()
	for _, word := range words {
		agenttest.Eventually(t, soon, func() error {
			if !strings.Contains(e.log.String(), word) {
				return fmt.Errorf("the log does not have %s", word)
			}
			return nil
		})
	}
}

// passes holds what goes through the tunnel at the port: bytes, an end of one
// direction, and a reset of either side, which the other sees as an orderly end: the
// other program ends TLS with a close_notify, whatever ended its own side.
func passes(t *testing.T, port int, app *lineApp, peer peerProgram) {
	t.Helper()
	open := func(line string) *net.TCPConn {
		var c net.Conn
		agenttest.Eventually(t, 2*soon, func() (err error) {
			if c, err = net.Dial("tcp", at(port)); err != nil {
				return err
			}
			_ = c.SetDeadline(time.Now().Add(soon))
			if _, err = c.Write([]byte(line)); err == nil {
				_, err = io.ReadFull(c, make([]byte, lineLen))
			}
			if err != nil {
				c.Close()
			}
			return err
		})
		return c.(*net.TCPConn)
	}
	c := open("hello\n")
	const size = 1 << 20
	go func() { // the answer comes behind the end
		_, _ = c.Write(make([]byte, size))
		_ = c.CloseWrite()
	}()
	switch got, err := io.ReadAll(c); {
	case !peer.halfClose(t):
		if len(got) > 0 {
			t.Errorf("half-closed: %q, though the end of one direction ends the other", got)
		}
	case err != nil || string(got) != fmt.Sprintf("%d bytes", size):
		t.Errorf("half-closed: %q, %v", got, err)
	}
	c.Close()

	cut := open("abort\n")
	_ = cut.SetLinger(0)
	cut.Close()
	if how := app.ended(t, "abort\n"); how != anOrderly {
		t.Errorf("a reset of the client comes to the application as %s, not as %s", how, anOrderly)
	}

	c = open("reset\n")
	defer c.Close()
	if _, err := c.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	if how, rest, err := endingOf(c); err != nil || len(rest) > 0 || how != anOrderly {
		t.Errorf("a reset of the application comes to the client as %s, not as %s: %q, %v", how, anOrderly, rest, err)
	}
}
