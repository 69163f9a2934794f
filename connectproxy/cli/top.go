package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gdamore/tcell/v2"

	"connect-proxy/connectproxy/adminapi"
)

const topHelp = `Usage: connect-proxy top [-o json] [-admin-addr ADDRESS]

  Shows who talks to whom through a running proxy, and how much, on the whole
  screen, anew each second. Keys: c sorts by connections, b by bytes a second, n by
  name; space holds it; q leaves. Where nobody looks, it is a table of this moment.

  Exit code 0: left. 1: no proxy is found. 2: wrong usage.`

func runTop(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	in, rest, code := inspect(ctx, "top", args, stdout, stderr, nil)
	if in == nil {
		return code
	}
	if len(rest) > 0 {
		return usage(stderr, "top: "+rest[0]+" is neither a flag nor a flag's value")
	}
	if in.json() || !isTerminal(stdout) {
		return in.topOnce()
	}
	screen, err := tcell.NewScreen()
	if err == nil {
		err = screen.Init()
	}
	if err != nil { // a terminal that nothing is known of, as TERM=dumb
		report(stderr, "top: this terminal's screen cannot be used: "+err.Error())
		return in.topOnce()
	}
	defer screen.Fini()
	var stop context.CancelFunc
	in.ctx, stop = untilHangup(in.ctx) // with the screen given back
	defer stop()
	return in.top(screen)
}

// topOnce shows this moment.
func (in *inspection) topOnce() int {
	var c adminapi.Connections
	if err := in.client.get(in.ctx, "/connections?limit=0", &c); err != nil {
		return in.fail(err)
	}
	if in.json() {
		return printJSON(in.stdout, c)
	}
	t := topView{sort: 'c'}
	t.take(topLook{connections: c, at: time.Now()})
	printTable(in.stdout, topHeadings, t.rows())
	return exitDrained
}

// top draws until it is left. The screen is the caller's to finish.
func (in *inspection) top(screen tcell.Screen) int {
	ctx, cancel := context.WithCancel(in.ctx)
	keys := make(chan tcell.Event, 8)
	quit := make(chan struct{})
	looks := make(chan topLook, 1)
	var helpers sync.WaitGroup
	helpers.Go(func() { screen.ChannelEvents(keys, quit) })
	defer helpers.Wait()
	defer close(quit)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	t := topView{sort: 'c', address: in.client.address}
	// A proxy that does not answer must not keep keys waiting.
	look := func() { helpers.Go(func() { looks <- in.poll(ctx) }) }
	asking := true
	look()
	for {
		t.draw(screen)
		select {
		case <-ctx.Done():
			return exitDrained
		case l := <-looks:
			asking = false
			t.take(l)
		case <-tick.C:
			if !t.held && !asking {
				asking = true
				look()
			}
		case e := <-keys:
			if t.key(e, screen) {
				return exitDrained
			}
		}
	}
}

// topLook is what a proxy answered at one time.
type topLook struct {
	proxy       adminapi.Proxy
	connections adminapi.Connections
	at          time.Time
	err         error
}

func (in *inspection) poll(ctx context.Context) (l topLook) {
	if l.err = in.client.get(ctx, "/proxy", &l.proxy); l.err == nil {
		l.err = in.client.get(ctx, "/connections?limit=0", &l.connections)
	}
	l.at = time.Now()
	return l
}

// topView is what is on the screen.
type topView struct {
	address, problem string
	proxy            *adminapi.Proxy // nil before the first answer
	pairs            []topPair
	at               time.Time
	sort             rune
	held             bool
}

// topPair is a pair with its bytes a second.
type topPair struct {
	adminapi.Pair
	there, back float64
}

var topHeadings = []string{"FROM", "TO", "DIRECTION", "CONNECTIONS", "TO DESTINATION", "TO SOURCE", "THERE/S", "BACK/S"}

// take works out rates from the look before. What went wrong is shown with what
// is known.
func (t *topView) take(l topLook) {
	if l.err != nil {
		t.problem = l.err.Error()
		return
	}
	t.problem = ""
	seconds := l.at.Sub(t.at).Seconds()
	pairs := make([]topPair, len(l.connections.Pairs))
	for i, p := range l.connections.Pairs {
		pairs[i].Pair = p
		for _, old := range t.pairs {
			if old.Source == p.Source && old.Destination == p.Destination && old.Direction == p.Direction && seconds > 0 {
				pairs[i].there = max(0, float64(p.ToDestinationBytes-old.ToDestinationBytes)) / seconds
				pairs[i].back = max(0, float64(p.ToSourceBytes-old.ToSourceBytes)) / seconds
			}
		}
	}
	t.proxy, t.pairs, t.at = &l.proxy, pairs, l.at
}

func (t *topView) rows() [][]string {
	slices.SortStableFunc(t.pairs, func(a, b topPair) int {
		name := cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Destination, b.Destination))
		switch t.sort {
		case 'b':
			return cmp.Or(cmp.Compare(b.there+b.back, a.there+a.back), name)
		case 'n':
			return name
		}
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), name)
	})
	rows := make([][]string, len(t.pairs))
	for i, p := range t.pairs {
		rows[i] = []string{
			orElse(p.Source, "-"), p.Destination, p.Direction, fmt.Sprint(p.Connections),
			byteCount(p.ToDestinationBytes), byteCount(p.ToSourceBytes), byteCount(int64(p.there)), byteCount(int64(p.back)),
		}
	}
	return rows
}

// key obeys one key, or what else a terminal tells, and reports whether it is to
// leave.
func (t *topView) key(e tcell.Event, screen tcell.Screen) bool {
	k := &tcell.EventKey{}
	switch e := e.(type) {
	case *tcell.EventKey:
		k = e
	case *tcell.EventResize:
		screen.Sync()
	case *tcell.EventError, nil: // the terminal is gone
		return true
	}
	switch {
	case k.Key() == tcell.KeyCtrlC, k.Key() == tcell.KeyEscape, k.Rune() == 'q':
		return true
	case k.Rune() == 'c', k.Rune() == 'b', k.Rune() == 'n':
		t.sort = k.Rune()
	case k.Rune() == ' ':
		t.held = !t.held
	}
	return false
}

// title says how the proxy is.
func (t *topView) title() string {
	switch {
	case t.problem != "":
		return t.problem
	case t.proxy == nil:
		return "asking the proxy at " + t.address
	}
	state := "ready"
	switch {
	case t.proxy.Draining:
		state = "draining"
	case !t.proxy.Ready:
		state = "not ready: " + strings.Join(t.proxy.Reasons, "; ")
	}
	if t.held {
		state += ", held"
	}
	return fmt.Sprintf("%s, %s, up for %s", orElse(t.proxy.Service, t.address), state, lasting(t.proxy.UptimeSeconds))
}

func (t *topView) draw(screen tcell.Screen) {
	screen.Clear()
	var table strings.Builder
	printTable(&table, topHeadings, t.rows())
	lines := append([]string{printable(t.title()), "c connections  b bytes  n name  space hold  q leave", ""}, strings.Split(strings.TrimRight(table.String(), "\n"), "\n")...)
	_, height := screen.Size()
	for y, line := range lines[:min(len(lines), height)] {
		style := tcell.StyleDefault
		if y == 0 || y == 3 {
			style = style.Bold(true)
		}
		for x := 0; line != ""; x++ {
			r, size := utf8.DecodeRuneInString(line)
			screen.SetContent(x, y, r, nil, style)
			line = line[size:]
		}
	}
	screen.Show()
}
