package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// adminTimeout bounds one question to a proxy.
const adminTimeout = 10 * time.Second

// maxAdminAnswer bounds what is read of an answer.
const maxAdminAnswer = 256 << 20

// adminFlags are those of every command that asks a running proxy.
type adminFlags struct {
	address, output string
}

func (a *adminFlags) flags(fs *flag.FlagSet) {
	fs.StringVar(&a.address, "admin-addr", "",
		"`Address` of the proxy's admin pages, as 127.0.0.1:19000 or unix:/path. "+
			"Default: the socket of the one proxy that runs here. Environment: CONNECT_PROXY_ADMIN.")
	a.format(fs)
}

func (a *adminFlags) format(fs *flag.FlagSet) {
	fs.StringVar(&a.output, "o", "table", "Output `format`: table or json.")
}

// json reports whether JSON is wanted.
func (a *adminFlags) json() bool { return a.output == "json" }

// problems are the mistakes in them.
func (a *adminFlags) problems() []string {
	if a.output != "table" && a.output != "json" {
		return []string{fmt.Sprintf("-o: %s: give table or json", a.output)}
	}
	return nil
}

// adminClient asks one running proxy.
type adminClient struct {
	address string // for people
	host    string
	http    *http.Client
}

// severalProxies says which sockets there are to choose from, naming a few where
// there are many.
func severalProxies(found []string) error {
	const few = 3
	named, more := found, ""
	if len(found) > few+1 {
		named, more = found[:few], fmt.Sprintf(", or %d more in %s", len(found)-few, filepath.Dir(found[few]))
	}
	return fmt.Errorf("%d proxies run here: choose one by -admin-addr unix:%s%s", len(found), strings.Join(named, " or unix:"), more)
}

// client finds the proxy that is meant.
func (a *adminFlags) client(env lookupEnv) (*adminClient, error) {
	address := cmp.Or(a.address, env("CONNECT_PROXY_ADMIN"))
	if address == "" {
		found := sockets()
		switch len(found) {
		case 0:
			return nil, errors.New("no running proxy of this user is found here: start one, ask as the user that it runs as, or say where its admin pages are by -admin-addr")
		case 1:
			address = "unix:" + found[0]
		default:
			return nil, severalProxies(found)
		}
	}
	network, target := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, target = "unix", "/"+strings.TrimLeft(path, "/")
		if !strings.HasPrefix(path, "/") {
			target, _ = filepath.Abs(path) // it is used as it is where the directory is gone
		}
	} else if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("-admin-addr: %s: give host:port or unix:/path", address)
	}
	c := &adminClient{address: address, host: target}
	if network == "unix" {
		c.host = "localhost"
	}
	c.http = &http.Client{Timeout: adminTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, target)
		},
		DisableKeepAlives: true,
	}}
	return c, nil
}

// get reads a page into v. A status of 503 has an answer too.
func (c *adminClient) get(ctx context.Context, page string, v any) error {
	return c.do(ctx, http.MethodGet, page, v)
}

func (c *adminClient) do(ctx context.Context, method, page string, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.host+page, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		var inner *net.OpError
		if errors.As(err, &inner) {
			err = inner
		}
		return fmt.Errorf("asking the proxy at %s: %w", c.address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer of the proxy at %s: %w", c.address, err)
	case resp.StatusCode == http.StatusNotFound && resp.Header.Get("Content-Type") != "application/json" && method == http.MethodGet:
		return fmt.Errorf("the proxy at %s has no page %s: is it of an older release?", c.address, page)
	case resp.StatusCode != http.StatusOK:
		return errors.New(printable(strings.TrimSpace(string(body))))
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("reading the answer of the proxy at %s: %w", c.address, err)
	}
	return nil
}

// inspection is a command that asks a running proxy.
type inspection struct {
	adminFlags
	client         *adminClient
	ctx            context.Context //nolint:containedctx // it lives as long as the command
	stdout, stderr io.Writer
}

// inspect parses the flags of a command and finds the proxy. The code counts
// where it is not done.
func inspect(ctx context.Context, name string, args []string, stdout, stderr io.Writer, more func(*flag.FlagSet)) (in *inspection, rest []string, code int) {
	in = &inspection{ctx: ctx, stdout: stdout, stderr: stderr}
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	in.flags(fs)
	if more != nil {
		more(fs)
	}
	if err := fs.Parse(args); err != nil {
		return nil, nil, usage(stderr, name+": "+err.Error())
	}
	if problems := in.problems(); len(problems) > 0 {
		return nil, nil, usage(stderr, problems...)
	}
	var err error
	if in.client, err = in.adminFlags.client(os.Getenv); err != nil {
		report(stderr, err.Error())
		return nil, nil, exitFailed
	}
	return in, fs.Args(), exitDrained
}

// fail reports an error and gives the exit code.
func (in *inspection) fail(err error) int {
	report(in.stderr, err.Error())
	return exitFailed
}
