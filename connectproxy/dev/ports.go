package dev

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// agentPort is an agent's by default.
const agentPort = 8500

// ports are those that the proxies bind.
type ports struct {
	apiPublic, webPublic int
	// upstream is where web's proxy offers api.
	upstream           int
	apiAdmin, webAdmin int
}

// findFree takes the usual port for each where it is free, which is easily
// remembered, and otherwise any. It is let go again: the proxy binds it, and
// tries for as long as somebody else was faster.
func (p *ports) findFree() error {
	var held []net.Listener
	defer func() {
		for _, ln := range held {
			ln.Close()
		}
	}()
	for port, usual := range map[*int]int{
		&p.upstream: 9191, &p.webAdmin: 19000, &p.apiAdmin: 19001, &p.webPublic: 20000, &p.apiPublic: 20001,
	} {
		ln, err := listenNear(usual)
		if err != nil {
			return err
		}
		held = append(held, ln)
		*port = portOf(ln)
	}
	return nil
}

// listenNear binds that port of the loopback, or any if it is taken.
func listenNear(port int) (net.Listener, error) {
	ln, err := net.Listen("tcp", loopback(port))
	if err != nil {
		ln, err = net.Listen("tcp", loopback(0))
	}
	return ln, err
}

// listenAgent binds what the user asked for, which is not replaced by anything
// else.
func listenAgent(addr string) (net.Listener, error) {
	if addr == "" {
		return listenNear(agentPort)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("-http-addr %s: give host:port, as 127.0.0.1:8500", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fmt.Errorf("-http-addr %s: %q is no port", addr, port)
	}
	ip := net.ParseIP(host)
	if host == "localhost" {
		ip = net.IPv4(127, 0, 0, 1)
	}
	if ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("-http-addr %s: give an address of the loopback: whoever reaches this agent may do everything", addr)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(ip.String(), port))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("-http-addr %s: somebody listens there already: stop that, or give another port", addr)
	case err != nil:
		return nil, fmt.Errorf("-http-addr %s: %w", addr, err)
	}
	return ln, nil
}

func portOf(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
