package connectproxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/micro"
	"connect-proxy/upstream/loglimit"
	"connect-proxy/upstream/watch"
)

const (
	// registeredBy is the metadata that says which service's proxy has registered
	// an instance for its application. Nothing without it is ever changed.
	registeredBy = "registered-by-connect-proxy"
	// maxRegistered is how many instances are registered at a time.
	maxRegistered = 64
	// writePause is how long there is between two registrations: applications
	// cannot make the agent, and with it its servers, work without bound.
	writePause = 20 * time.Millisecond
	// forgetAfter is how long an instance that was not heard of in time stays
	// registered. An agent takes no less, and up to half a minute more, since it
	// looks that often; keepAfter is for how long the proxy counts it, to be sure.
	forgetAfter = time.Minute
	keepAfter   = 2 * forgetAfter
	// leaveTime bounds the deregistrations at the end.
	leaveTime = 3 * time.Second
)

// microRegistrar registers with the agent what applications of Micro register.
type microRegistrar struct {
	p    *Proxy
	turn chan struct{} // holds one, whose taker may write and use what follows
	last time.Time
	held map[string]heldRegistration // by their IDs

	lines loglimit.Limit
}

type heldRegistration struct {
	micro.Registration
	by string // whom the proxy represented then
	at time.Time
}

var _ micro.Registrar = (*microRegistrar)(nil)

func newMicroRegistrar(p *Proxy) *microRegistrar {
	return &microRegistrar{p: p, turn: make(chan struct{}, 1), held: make(map[string]heldRegistration)}
}

// begin waits for its turn; the caller ends it.
func (m *microRegistrar) begin(ctx context.Context) error {
	if m.p.o.Client == nil {
		return errNoAgent
	}
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	pause := time.NewTimer(time.Until(m.last.Add(writePause)))
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-ctx.Done():
		m.end()
		return ctx.Err()
	}
}

func (m *microRegistrar) end() {
	m.last = time.Now()
	<-m.turn
}

// Register and Deregister are micro.Registrar's.
func (m *microRegistrar) Register(ctx context.Context, r micro.Registration) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.end()
	maps.DeleteFunc(m.held, func(_ string, h heldRegistration) bool {
		return h.TTL > 0 && time.Since(h.at) > h.TTL+keepAfter
	})
	old, known := m.held[r.ID]
	if !known && len(m.held) >= maxRegistered {
		return fmt.Errorf("%d instances are registered through this proxy, which is the limit", maxRegistered)
	}
	if known && r.TTL > 0 && reflect.DeepEqual(old.Registration, r) {
		err := m.pass(ctx, r.ID)
		var status api.StatusError
		switch {
		case err == nil:
			old.at = time.Now()
			m.held[r.ID] = old
			return nil
		case !errors.As(err, &status):
			return watch.Explain(err)
		} // the agent has forgotten it
	}
	if _, err := m.owned(ctx, r.ID); err != nil {
		return err
	}
	if err := m.alone(ctx, r.ID); err != nil {
		return err
	}
	opts, reg := api.ServiceRegisterOpts{}.WithContext(ctx), m.registration(r)
	if err := m.p.o.Client.Agent().ServiceRegisterOpts(reg, opts); err != nil {
		return watch.Explain(watch.Needs(err, "service:write", r.Service))
	}
	m.held[r.ID] = heldRegistration{r, reg.Meta[registeredBy], time.Now()}
	if r.TTL > 0 { // a check that was there before keeps its status
		if err := m.pass(ctx, r.ID); err != nil {
			return watch.Explain(err)
		}
	}
	m.log("registered for its application", r.Service, r.ID)
	return nil
}

// pass says that an instance is healthy.
func (m *microRegistrar) pass(ctx context.Context, id string) error {
	return m.p.o.Client.Agent().UpdateTTLOpts(checkOf(id), "", api.HealthPassing, m.query(ctx))
}

// log says what was done, as often as clients may have lines written.
func (m *microRegistrar) log(message, service, id string) {
	logged, left := m.lines.Take(time.Now())
	if !logged {
		return
	}
	args := []any{"service", service, "id", id}
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	m.p.logger.Info(message, args...)
}

func (m *microRegistrar) Deregister(ctx context.Context, id string) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.end()
	return m.deregister(ctx, id)
}

func (m *microRegistrar) deregister(ctx context.Context, id string) error {
	there, err := m.owned(ctx, id)
	if there && err == nil {
		err = m.p.o.Client.Agent().ServiceDeregisterOpts(id, m.query(ctx))
	}
	if err != nil {
		return watch.Explain(watch.Needs(err, "service:write", m.held[id].Service))
	}
	if there {
		m.log("deregistered for its application", m.held[id].Service, id)
	}
	delete(m.held, id)
	return nil
}

// owned reports whether the agent has a service of that ID. It is an error where
// that was not registered here.
func (m *microRegistrar) owned(ctx context.Context, id string) (bool, error) {
	s, _, err := m.p.o.Client.Agent().Service(id, m.query(ctx))
	var status api.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return false, nil
	case err != nil:
		return false, watch.Explain(err)
	case s.Kind != api.ServiceKindTypical || !m.isOurs(id, s.Meta[registeredBy]):
		return true, fmt.Errorf("%s: %w", id, micro.ErrForeign)
	}
	return true, nil
}

// isOurs reports whether it was this proxy that has registered an instance, or one
// of the same service.
func (m *microRegistrar) isOurs(id, by string) bool {
	old, known := m.held[id]
	return by != "" && (by == m.p.ownService() || known && by == old.by)
}

// alone says that no other ID differs from an ID in capitals alone. The agent tells
// the two apart; the catalog does not (it looks IDs up in small letters), and would
// have the one in the place of the other.
func (m *microRegistrar) alone(ctx context.Context, id string) error {
	all, err := m.p.o.Client.Agent().ServicesWithFilterOpts("", m.query(ctx))
	if err != nil {
		return watch.Explain(err)
	}
	for other := range all {
		if other != id && strings.EqualFold(other, id) {
			return fmt.Errorf("%s, which is %s to Consul: %w", id, other, micro.ErrForeign)
		}
	}
	return nil
}

func (m *microRegistrar) registration(r micro.Registration) *api.AgentServiceRegistration {
	c := m.p.published.Load().config
	reg := &api.AgentServiceRegistration{
		ID: r.ID, Name: r.Service, Address: r.Address, Port: r.Port, Tags: r.Tags, Meta: maps.Clone(r.Meta),
		Namespace: c.Namespace, Partition: c.Partition,
	}
	if reg.Meta == nil {
		reg.Meta = make(map[string]string)
	}
	reg.Meta[registeredBy] = c.Service
	if r.TTL > 0 {
		reg.Check = &api.AgentServiceCheck{
			CheckID: checkOf(r.ID), Name: "Registered by its application", Status: api.HealthPassing, TTL: r.TTL.String(),
			DeregisterCriticalServiceAfter: forgetAfter.String(),
		}
	}
	return reg
}

// checkOf is the ID of an instance's check. The agent's own for the checks of a
// service, service:ID:1, would be that of somebody else's check for some IDs, and
// replace it.
func checkOf(id string) string { return registeredBy + ":" + id }

// query is in the namespace of the proxy.
func (m *microRegistrar) query(ctx context.Context) *api.QueryOptions {
	c := m.p.published.Load().config
	return (&api.QueryOptions{Namespace: c.Namespace, Partition: c.Partition}).WithContext(ctx)
}

// leave deregisters everything, for a bounded time: the proxy stops, and leads to
// the applications no more.
func (m *microRegistrar) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if m.begin(ctx) != nil {
		return
	}
	defer m.end()
	for id, h := range m.held {
		if err := m.deregister(ctx, id); err != nil {
			m.p.logger.Warn("instance of an application stays registered", "service", h.Service, "id", id, "error", err)
		}
	}
}
