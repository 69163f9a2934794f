package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connect-proxy/connectproxy/adminapi"
)

const statusHelp = `Usage: connect-proxy status [upstreams|listeners|certificates|intentions|config] [-o json] [-admin-addr ADDRESS]

  Shows what a running proxy knows of itself: all of it in short, or one part in
  whole.

  Exit code 0: shown. 1: no proxy is found. 2: wrong usage.`

// runStatus shows a proxy, or one part of it.
func runStatus(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	part := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		part, args = args[0], args[1:]
	}
	if part != "" && statusParts[part] == nil {
		return usage(stderr, "status: "+part+" is no part: give one of upstreams, listeners, certificates, intentions, config")
	}
	in, rest, code := inspect(ctx, "status", args, stdout, stderr, nil)
	if in == nil {
		return code
	}
	if len(rest) > 0 {
		return usage(stderr, "status: "+rest[0]+" is neither a flag nor a part; flags stand behind the part")
	}
	v, err := in.view()
	if err != nil {
		return in.fail(err)
	}
	if in.json() {
		return printJSON(stdout, v.part(part))
	}
	if part != "" {
		statusParts[part](v, stdout)
		return exitDrained
	}
	v.summary(stdout)
	return exitDrained
}

// part is what is shown as JSON.
func (v view) part(name string) any {
	switch name {
	case "upstreams":
		return v.Upstreams
	case "listeners":
		return v.Proxy.Listeners
	case "certificates":
		return v.Certificates
	case "intentions":
		return v.Intentions
	case "config":
		return v.Config
	}
	return v
}

var statusParts = map[string]func(view, io.Writer){
	"upstreams": view.printUpstreams, "listeners": view.printListeners, "certificates": view.printCertificates,
	"intentions": view.printIntentions, "config": view.printConfig,
}

func (v view) summary(w io.Writer) {
	p := v.Proxy
	state := coloured(w, "32", "ready")
	switch {
	case p.Draining:
		state = coloured(w, "33", "draining")
	case !p.Ready:
		state = coloured(w, "31", "not ready")
	}
	fmt.Fprintf(w, "%s is %s, up for %s, version %s\n", printable(orElse(p.Service, "The proxy")), state, lasting(p.UptimeSeconds), printable(p.Version))
	for _, r := range append(slices.Clone(p.Reasons), p.Warnings...) {
		fmt.Fprintln(w, "  "+printable(r))
	}
	callers := "Intentions"
	if v.Intentions.ByList {
		callers = "Callers"
	}
	for _, part := range []struct {
		title string
		any   bool
		print func(view, io.Writer)
	}{
		{"Listeners", len(p.Listeners) > 0, view.printListeners}, {"Upstreams", len(v.Upstreams) > 0, view.printUpstreams},
		{"Certificates", true, view.printCertificates}, {callers, v.Intentions.Public, view.printIntentions},
	} {
		if part.any {
			fmt.Fprintln(w, "\n"+part.title)
			part.print(v, w)
		}
	}
}

func (v view) printListeners(w io.Writer) {
	var rows [][]string
	for _, l := range v.Proxy.Listeners {
		state := "up"
		switch {
		case l.Leaving:
			state = "leaving"
		case !l.Up:
			state = "down: " + orElse(l.Problem, "not open yet")
		}
		rows = append(rows, []string{l.Name, l.Direction, l.Address, l.To, fmt.Sprint(l.Live), state})
	}
	printTable(w, []string{"NAME", "DIRECTION", "ADDRESS", "TO", "CONNECTIONS", "STATE"}, rows)
}

func (v view) printUpstreams(w io.Writer) {
	var rows [][]string
	for _, u := range v.Upstreams {
		if len(u.Instances) == 0 {
			rows = append(rows, []string{u.Destination, "-", "-", "0", orElse(u.Problem, "not in use yet")})
		}
		for _, i := range u.Instances {
			state := "in use"
			if i.SetAside {
				state = fmt.Sprintf("set aside for %s more after %d failures: %s", lasting(i.SetAsideSeconds), i.Failures, i.Error)
			}
			rows = append(rows, []string{u.Destination, i.ID, i.Address, fmt.Sprint(i.Live), state})
		}
	}
	printTable(w, []string{"DESTINATION", "INSTANCE", "ADDRESS", "CONNECTIONS", "STATE"}, rows)
}

func (v view) printCertificates(w io.Writer) {
	var rows [][]string
	var notes []string
	for _, c := range append([]adminapi.Certificates{v.Certificates}, v.Certificates.Others...) {
		if c.Leaf != nil {
			rows = append(rows, []string{"leaf", c.SpiffeID, c.Leaf.NotAfter.Format(time.RFC3339), lasting(c.Leaf.RemainingSeconds)})
		}
		for _, r := range c.Roots {
			kind, until, left := "root", "-", "-"
			if r.Active {
				kind = "root, active"
			}
			if !r.NotAfter.IsZero() {
				until, left = r.NotAfter.Format(time.RFC3339), lasting(time.Until(r.NotAfter).Seconds())
			}
			rows = append(rows, []string{kind, r.ID, until, left})
		}
		if c.Mesh != nil {
			notes = append(notes, c.Mesh.InWords())
		}
		notes = append(notes, c.Warnings...)
		if c.Problem != "" {
			notes = append(notes, c.Problem)
		}
	}
	printTable(w, []string{"KIND", "OF", "UNTIL", "LEFT"}, rows)
	for _, n := range notes {
		fmt.Fprintln(w, printable(n))
	}
}

func (v view) printIntentions(w io.Writer) {
	var rows [][]string
	for _, d := range v.Intentions.Decisions {
		decision := "unknown"
		switch {
		case d.Known && d.Allowed:
			decision = "allowed"
		case d.Known:
			decision = "denied"
		}
		rows = append(rows, []string{d.Source, decision, lasting(d.AgeSeconds), orElse(d.Reason, d.Error), d.Peer})
	}
	printTable(w, []string{"CALLER", "DECISION", "AGE", "BECAUSE", "SPIFFE ID"}, rows)
}

func (v view) printConfig(w io.Writer) {
	var rows [][]string
	for _, s := range v.Config.Settings {
		rows = append(rows, []string{s.Key, s.Value, s.Origin})
	}
	printTable(w, []string{"KEY", "VALUE", "FROM"}, rows)
}
