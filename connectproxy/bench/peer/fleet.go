//go:build linux

package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/bench/load"
	"connect-proxy/connectproxy/bench/proc"
)

// Shape is what a fleet consists of.
type Shape struct {
	Sidecars int
	// Upstreams are those of each sidecar. They lead to the fleet's other
	// services in turn, to its own last, and those beyond to services that have
	// no instances.
	Upstreams int
}

// Fleet is sidecars of one kind that share an agent of their own, which has its
// default limits. It is for one goroutine.
type Fleet struct {
	shape     Shape
	lab       *Lab
	agent     *agent
	processes []*process
	answering []int // the local ports of upstreams that have an instance
	most      int
}

// Usage is what a fleet has taken since its start.
type Usage struct {
	// Proxies and Agent are the processor time of all proxies and of the agent.
	Proxies, Agent time.Duration
	// Requests are those that the agent has answered, those of Usage included.
	Requests float64
}

// Holding is what a fleet holds.
type Holding struct {
	// Connections are those at the agent now, Most at any time that somebody
	// looked since the fleet's start.
	Connections, Most int
	// Private and Shared are bytes of memory, of all proxies.
	Private, Shared int64
}

// fleetReady bounds the time until every upstream is answered.
const fleetReady = 30 * time.Second

// StartFleet registers all services of a fleet and starts their sidecars at
// once. It returns when every upstream that has an instance was answered, and
// how long that took. Stop is to be called whatever it returns.
func (l *Lab) StartFleet(ctx context.Context, k Kind, shape Shape) (f *Fleet, ready time.Duration, err error) {
	f = &Fleet{shape: shape, lab: l}
	if f.agent, err = l.startAgent(ctx, "agent-"+shape.name()); err != nil {
		return f, 0, err
	}
	if err := f.register(); err != nil {
		return f, 0, err
	}
	begun := time.Now()
	for i := range shape.Sidecars {
		p, err := l.start(shape.name()+"-"+fleetService(i), withLimit(k.limit, k.sidecar(l, f.agent.address, fleetService(i))))
		if err != nil {
			return f, 0, err
		}
		f.processes = append(f.processes, p)
	}
	if err := f.answers(ctx); err != nil {
		return f, 0, fmt.Errorf("waiting for %d sidecars with %d upstreams each: %w", shape.Sidecars, shape.Upstreams, err)
	}
	return f, time.Since(begun), nil
}

func (s Shape) name() string { return fmt.Sprintf("fleet-%d-%d", s.Sidecars, s.Upstreams) }

func fleetService(i int) string { return fmt.Sprintf("s%d", i) }

// register makes the services. A sidecar has its public port first and those of
// its upstreams behind it.
func (f *Fleet) register() error {
	each := 1 + f.shape.Upstreams
	first, err := freePorts(f.shape.Sidecars * each)
	if err != nil {
		return err
	}
	for i := range f.shape.Sidecars {
		var ups []api.Upstream
		public := first + i*each
		for k := 1; k <= f.shape.Upstreams; k++ {
			up := api.Upstream{LocalBindAddress: "127.0.0.1", LocalBindPort: public + k}
			if up.DestinationName = fmt.Sprintf("absent-%d", k); k <= f.shape.Sidecars {
				up.DestinationName = fleetService((i + k) % f.shape.Sidecars)
				f.answering = append(f.answering, public+k)
			}
			ups = append(ups, up)
		}
		if err := f.agent.register(fleetService(i), portOf(f.lab.app), public, map[string]any{}, ups); err != nil {
			return err
		}
	}
	return nil
}

// answers waits until each upstream that has an instance was answered once, or
// a process has ended.
func (f *Fleet) answers(ctx context.Context) error {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	left := f.answering
	return until(ctx, fleetReady, func() error {
		if err := f.Look(); err != nil {
			giveUp()
			return err
		}
		for len(left) > 0 {
			if err := load.NewClient(loopback(left[0])).Check(ctx); err != nil {
				return fmt.Errorf("%d of %d upstreams are not answered yet: %w", len(left), len(f.answering), err)
			}
			left = left[1:]
		}
		return nil
	})
}

// Look counts connections and is an error once a process has ended.
func (f *Fleet) Look() error {
	n, err := proc.Connections(portOf(f.agent.address))
	f.most = max(f.most, n)
	for _, p := range f.processes {
		err = errors.Join(err, p.running())
	}
	return err
}

// Usage reads the clocks.
func (f *Fleet) Usage(ctx context.Context) (s Usage, err error) {
	if s.Requests, err = f.agent.requests(ctx); err != nil {
		return s, err
	}
	// Each process is the only one of its group.
	for _, p := range f.processes {
		spent, err := proc.CPU(p.pgid())
		if err != nil {
			return s, errors.Join(p.running(), err)
		}
		s.Proxies += spent
	}
	s.Agent, err = proc.CPU(f.agent.process.pgid())
	return s, err
}

// Holding counts what is held.
func (f *Fleet) Holding() (h Holding, err error) {
	if h.Connections, err = proc.Connections(portOf(f.agent.address)); err != nil {
		return h, err
	}
	h.Most = max(f.most, h.Connections)
	for _, p := range f.processes {
		private, shared, err := proc.Memory(p.pgid())
		if err != nil {
			return h, errors.Join(p.running(), err)
		}
		h.Private, h.Shared = h.Private+private, h.Shared+shared
	}
	return h, nil
}

// Stop ends all of it at once.
func (f *Fleet) Stop() {
	all := f.processes
	if f.agent != nil {
		all = append(all, f.agent.process)
	}
	for _, p := range all {
		KillGroup(p.pgid())
	}
	for _, p := range all {
		<-p.done
	}
}

// requests is how many the agent has answered since its start.
func (a *agent) requests(ctx context.Context) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+"/v1/agent/metrics?format=prometheus", nil)
	if err != nil {
		return 0, fmt.Errorf("asking the agent for its metrics: %w", err)
	}
	r.Close = true
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return 0, fmt.Errorf("asking the agent for its metrics: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("asking the agent for its metrics: %s", answer.Status)
	}
	return sumOf(answer.Body, "consul_api_http_count")
}

// sumOf adds up a metric in Prometheus's text format, whatever its labels.
func sumOf(text io.Reader, name string) (total float64, err error) {
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		if key, _, _ = strings.Cut(key, "{"); key != name {
			continue
		}
		if i := strings.LastIndexByte(value, ' '); i >= 0 {
			value = value[i+1:] // a label had a space
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the agent's metrics: %w", err)
		}
		total += n
	}
	return total, lines.Err()
}
