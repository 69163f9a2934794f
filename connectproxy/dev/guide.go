package dev

import (
	"fmt"
	"os/exec"
	"strings"
	"time"
	"unicode"
)

// try is something to try: what it shows, and lines for a shell.
type try struct {
	shows string
	lines []string
}

// guide prints what there is and what to try. Every line that is no comment can
// be pasted into a shell as it stands.
func (m *Mesh) guide(took time.Duration) {
	agent := "http://" + m.http.Addr().String()
	var b strings.Builder
	fmt.Fprintf(&b, `A mesh on this machine, ready in %d ms. It is for trying, testing and teaching:
nothing is kept, no other machine reaches it, and on this one everybody may do
everything with it.

  web    http://%s  passes requests on to %s, where its proxy offers api
  api    http://%s  is called through its proxy
  agent  %s

Paste into another shell; what the proxies log about it appears here. Ctrl-C ends
all of it.
`, took.Milliseconds(), loopback(portOf(m.web)), loopback(m.ports.upstream), loopback(portOf(m.api)), agent)
	for _, t := range m.tries(agent) {
		fmt.Fprintf(&b, "\n# %s\n", t.shows)
		for _, line := range t.lines {
			fmt.Fprintln(&b, line)
		}
	}
	fmt.Fprintln(&b)
	_, _ = m.o.Out.Write([]byte(b.String()))
}

func (m *Mesh) tries(agent string) []try {
	ask := fmt.Sprintf("curl http://%s/books/7", loopback(portOf(m.web)))
	intention := fmt.Sprintf("'%s/v1/connect/intentions/exact?source=web&destination=api'", agent)
	program, dashboard := inShell(m.o.Program), fmt.Sprintf("http://%s/", loopback(m.ports.webAdmin))
	return []try{
		{"a request: web -> web's proxy => mutual TLS => api's proxy -> api", []string{ask}},
		{"the same as web makes it, without web", []string{fmt.Sprintf("curl http://%s/books/7", loopback(m.ports.upstream))}},
		{"web is denied to api, and web's request says so", []string{
			fmt.Sprintf(`curl -X PUT -d '{"Action": "deny"}' %s`, intention), ask,
		}},
		{"it is allowed again", []string{"curl -X DELETE " + intention, ask}},
		{"what web's proxy knows: who it is, where api is, whether it is ready", []string{
			fmt.Sprintf("curl http://%s/health", loopback(m.ports.webAdmin)),
			fmt.Sprintf("curl http://%s/ready", loopback(m.ports.webAdmin)),
		}},
		{"something to look at: bytes from api to web, in the background, until all of it ends", []string{
			fmt.Sprintf("curl -s http://%s/bytes >/dev/null 2>&1 &", loopback(m.ports.upstream)),
		}},
		{"who talks to whom and how much, on the whole screen; q leaves", []string{
			fmt.Sprintf("%s top -admin-addr %s", program, loopback(m.ports.webAdmin)),
		}},
		{"the same and more in a browser: " + dashboard, opening(dashboard)},
		{"the way from web to api, step by step, and where it would end", []string{
			fmt.Sprintf("%s explain -to api -from web -http-addr %s", program, m.http.Addr()),
		}},
		{"what the agent knows: the instances of api, the CA", []string{
			fmt.Sprintf("curl '%s/v1/health/connect/api?passing'", agent),
			fmt.Sprintf("curl %s/v1/agent/connect/ca/roots", agent),
		}},
	}
}

// opening is the line that opens a page in a browser; none where no program is
// known to do that.
func opening(url string) []string {
	for _, name := range []string{"xdg-open", "open"} { // most systems', and macOS's
		if _, err := exec.LookPath(name); err == nil {
			return []string{name + " " + url}
		}
	}
	return nil
}

// inShell is a word as a shell takes it for one.
func inShell(word string) string {
	if !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
