package upstream

import (
	"time"

	"connect-proxy/connectproxy/watch"
)

// Status is a snapshot of an Upstream.
type Status struct {
	Name string
	// Balance is the policy in effect.
	Balance string
	// Known reports that there has been a set, if an empty one.
	Known     bool
	Instances []InstanceStatus
	// Live counts connections, those being dialled included.
	Live int
	// Failures counts the failed attempts by reason, those that never happened
	// left out.
	Failures map[string]uint64
	// Resolver says how fresh Instances is.
	Resolver watch.Status
}

// InstanceStatus is one instance in a Status.
type InstanceStatus struct {
	Endpoint
	Live int
	// Failures counts those in a row.
	Failures int
	// SetAside is when the instance is tried again; zero unless it is set
	// aside. A time that has passed means that a probe is due.
	SetAside time.Time
	// Err is the last failure, nil since the last success.
	Err error
}

// Status returns a snapshot.
func (u *Upstream) Status() Status {
	o := u.options.Load()
	s := Status{
		Name:     o.Name,
		Balance:  o.Balance,
		Live:     int(u.live.Load()),
		Failures: make(map[string]uint64),
		Resolver: u.resolver.Status(),
	}
	for r := range u.failures {
		if n := u.failures[r].Load(); n > 0 {
			s.Failures[Reason(r).String()] = n
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.picker.Load()
	if p == nil {
		return s
	}
	s.Known = true
	if p.ordered {
		s.Balance = Ordered
	}
	s.Instances = make([]InstanceStatus, len(p.all))
	for i := range p.all {
		in := &p.all[i]
		s.Instances[i] = InstanceStatus{Endpoint: in.ep, Live: int(in.live.Load()), Failures: in.trouble.failures, Err: in.last}
		if until := in.until.Load(); until != 0 {
			s.Instances[i].SetAside = u.epoch.Add(time.Duration(until))
		}
	}
	return s
}
