package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/upstream/backoff"
)

const checkHelp = `Usage: connect-proxy check [-wait DURATION] [-o json] [-admin-addr ADDRESS]

  Looks into a running proxy, one line for each thing: ✓ it is well, ! it works
  and something should be done, × it does not serve as it should.

  Exit code 0: ready. 1: not, or no proxy is found. 2: wrong usage.`

// checkPause is the time between two looks of -wait.
const checkPause = 250 * time.Millisecond

// shortLife is the part of a leaf's life below which it should have been renewed.
const shortLife = 0.2

// runCheck says how a proxy is.
func runCheck(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var wait time.Duration
	in, rest, code := inspect(ctx, "check", args, stdout, stderr, func(fs *flag.FlagSet) {
		fs.DurationVar(&wait, "wait", 0, "Wait so long at most, as a `duration` such as 30s, until the proxy is ready.")
	})
	for until := time.Now().Add(wait); in == nil && code == exitFailed && time.Now().Before(until) && backoff.Sleep(ctx, checkPause); {
		in, rest, code = inspect(ctx, "check", args, stdout, io.Discard, func(fs *flag.FlagSet) { fs.DurationVar(&wait, "wait", 0, "") })
	}
	if in == nil {
		return code
	}
	if len(rest) > 0 {
		return usage(stderr, "check: "+rest[0]+" is neither a flag nor a flag's value")
	}
	return in.check(time.Now().Add(wait))
}

func (in *inspection) check(until time.Time) int {
	var f findings
	for {
		v, err := in.view()
		if f = nil; err == nil {
			f = v.findings()
		}
		if err == nil && !f.failed() || !time.Now().Before(until) || !backoff.Sleep(in.ctx, checkPause) {
			if err != nil {
				return in.fail(err)
			}
			break
		}
	}
	code := exitDrained
	if f.failed() {
		code = exitFailed
	}
	if in.json() {
		if printJSON(in.stdout, map[string]any{"ready": code == exitDrained, "findings": f}) != exitDrained {
			return exitFailed
		}
		return code
	}
	f.print(in.stdout)
	return code
}

// view is all that a running proxy tells, but for its connections.
type view struct {
	Proxy        adminapi.Proxy        `json:"proxy"`
	Upstreams    []adminapi.Upstream   `json:"upstreams"`
	Certificates adminapi.Certificates `json:"certificates"`
	Intentions   adminapi.Intentions   `json:"intentions"`
	Config       adminapi.Config       `json:"config"`
}

func (in *inspection) view() (v view, err error) {
	for _, page := range []struct {
		path string
		into any
	}{
		{"/proxy", &v.Proxy}, {"/upstreams", &v.Upstreams}, {"/certificates", &v.Certificates},
		{"/intentions", &v.Intentions}, {"/config", &v.Config},
	} {
		if err := in.client.get(in.ctx, page.path, page.into); err != nil {
			return v, err
		}
	}
	return v, nil
}

// findings say what is well and what is not.
func (v view) findings() findings {
	var f findings
	p := v.Proxy
	if p.Agent.Address == "" {
		f.add("agent", good, "", "none is asked")
	} else if p.Agent.Problem == "" {
		f.add("agent", good, "", "the agent at %s answers", p.Agent.Address)
	} else {
		f.add("agent", notice, "what is known stays in force; is the agent up, and is the token right?", "the agent at %s: %s", p.Agent.Address, p.Agent.Problem)
	}
	v.checkConfig(&f)
	v.checkCertificates(&f)
	v.checkMesh(&f)
	for _, l := range p.Listeners {
		switch {
		case l.Leaving:
		case l.Up:
			f.add("listeners", good, "", "%s listens on %s and leads to %s", l.Name, l.Address, l.To)
		default:
			f.add("listeners", failing, "", "%s does not listen on %s: %s", l.Name, l.Address, orElse(l.Problem, "not open yet"))
		}
	}
	v.checkUpstreams(&f)
	if v.Intentions.Public {
		switch i := v.Intentions; {
		case i.ByList:
			f.add("callers", good, "", "judged by the list in allow")
		case i.Problem != "":
			f.add("intentions", notice, "", "the agent could not be asked who may call: %s", i.Problem)
		case i.Blind && i.WatchProblem != "":
			f.add("intentions", notice, "", "changes cannot be watched, so decisions are asked for every few seconds: %s", i.WatchProblem)
		case i.Blind:
			f.add("intentions", good, "", "watched, and asked for every few seconds until the agent has answered for two minutes")
		default:
			f.add("intentions", good, "", "watched, %s remembered", counted(len(i.Decisions), "decision", "decisions"))
		}
	}
	for _, reason := range p.Reasons {
		f.add("ready", failing, "", "%s", reason)
	}
	for _, w := range p.Warnings {
		f.add("ready", notice, "", "%s", w)
	}
	if p.Ready {
		f.add("ready", good, "", "%s serves", orElse(p.Service, "the proxy"))
	}
	return f
}

func (v view) checkConfig(f *findings) {
	c := v.Config
	switch {
	case c.Problem != "":
		f.add("configuration", notice, "mend it: the last good one stays in force", "nothing newer is in force: %s", c.Problem)
	case c.From != "":
		f.add("configuration", good, "", "%s, in force for %s", c.From, lasting(c.AgeSeconds))
	}
	for _, w := range append(append([]string(nil), c.SecurityWarnings...), c.Warnings...) {
		f.add("configuration", notice, "", "%s", w)
	}
}

func (v view) checkCertificates(f *findings) {
	for _, c := range append([]adminapi.Certificates{v.Certificates}, v.Certificates.Others...) {
		if c.Leaf != nil || c.Problem != "" { // else connections are in plaintext
			checkCertificate(f, c)
		}
	}
}

func checkCertificate(f *findings, c adminapi.Certificates) {
	of := c.SpiffeID
	if c.Identity != "" {
		of = fmt.Sprintf("%s (identity %q)", of, c.Identity)
	}
	switch {
	case c.Problem != "":
		f.add("certificates", failing, "", "%s", c.Problem)
	case len(c.Warnings) == 0 && c.Leaf.RemainingSeconds < shortLife*c.Leaf.NotAfter.Sub(c.Leaf.NotBefore).Seconds():
		f.add("certificates", notice, "it should have been renewed: look at the log of who renews it, and the clocks",
			"the leaf of %s ends in %s", of, lasting(c.Leaf.RemainingSeconds))
	default:
		f.add("certificates", good, "", "the leaf of %s has %s left, %s trusted", of, lasting(c.Leaf.RemainingSeconds), counted(len(c.Roots), "root is", "roots are"))
	}
	for _, w := range c.Warnings {
		f.add("certificates", notice, "", "%s", w)
	}
}

// checkMesh says what the mesh allows of TLS, where it says something.
func (v view) checkMesh(f *findings) {
	switch m := v.Certificates.Mesh; {
	case m == nil:
	case !m.Known:
		f.add("certificates", notice, "give the listener its own tls_min_version where it must not depend on the agent", "%s", m.InWords())
	case len(m.Problems) > 0:
		f.add("certificates", notice, "mend the entry: consul config read -kind mesh -name mesh", "%s", m.InWords())
	case m.Incoming+m.Outgoing != "":
		f.add("certificates", good, "", "%s", m.InWords())
	}
}

func (v view) checkUpstreams(f *findings) {
	for _, u := range v.Upstreams {
		aside, last := 0, ""
		for _, i := range u.Instances {
			if i.SetAside {
				aside, last = aside+1, i.ID+": "+i.Error
			}
		}
		explain := ""
		if v.Proxy.Agent.Address != "" { // which explain asks
			explain = "connect-proxy explain -to " + u.Destination + " -from " + v.Proxy.Service
		}
		switch {
		case u.Problem != "":
			f.add("upstreams", notice, explain, "%s on %s: %s", u.Destination, u.Address, u.Problem)
		case !u.Known:
			f.add("upstreams", good, "", "%s on %s is not in use yet", u.Destination, u.Address)
		case aside > 0:
			f.add("upstreams", notice, explain, "%s on %s: %d of %d instances are set aside, %s", u.Destination, u.Address, aside, len(u.Instances), last)
		default:
			f.add("upstreams", good, "", "%s on %s: %s", u.Destination, u.Address, counted(len(u.Instances), "instance", "instances"))
		}
	}
}

// counted is a number with the noun that goes with it.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
