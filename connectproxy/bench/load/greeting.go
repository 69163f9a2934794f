package load

import (
	"fmt"
	"io"
	"net"
)

// Greeting says where a connection is to lead, to a proxy that is told so.
type Greeting struct {
	ask    string
	answer int // its length
	begins string
}

// SOCKS5 asks for a service by SOCKS5, all that it has to say at once.
func SOCKS5(name string) Greeting {
	return Greeting{
		ask:    "\x05\x01\x00" + "\x05\x01\x00\x03" + string([]byte{byte(len(name))}) + name + "\x00\x50",
		answer: 2 + 10, begins: "\x05\x00\x05\x00",
	}
}

// CONNECT asks for a service by HTTP CONNECT.
func CONNECT(name string) Greeting {
	const established = "HTTP/1.1 200 Connection established\r\n\r\n"
	return Greeting{ask: "CONNECT " + name + ":80 HTTP/1.1\r\nHost: " + name + ":80\r\n\r\n", answer: len(established), begins: established}
}

// Greeting is a client of the same address whose connections begin with it.
func (c *Client) Greeting(g Greeting) *Client {
	return &Client{address: c.address, sources: c.sources, greeting: g}
}

// greet asks and waits for the answer.
func (g Greeting) greet(c net.Conn) error {
	if g.ask == "" {
		return nil
	}
	if _, err := io.WriteString(c, g.ask); err != nil {
		return err
	}
	b := make([]byte, g.answer)
	if _, err := io.ReadFull(c, b); err != nil {
		return fmt.Errorf("waiting for the proxy's answer: %w", err)
	}
	if got := string(b[:len(g.begins)]); got != g.begins {
		return fmt.Errorf("the proxy answers %q", got)
	}
	return nil
}
