package upstream

import "time"

// Status is a snapshot of an Upstream.
type Status struct {
	// Name is Options.Name.
	Name string
	// Balance is the policy in effect.
	Balance string
	// Known reports that there has been a set, if an empty one.
	Known bool
	// Instances are those of the latest set, in its order.
	Instances []InstanceStatus
	// Live counts connections, those being dialled included.
	Live int
	// Connected counts the attempts that succeeded.
	Connected uint64
	// Failures counts the failed attempts by reason, those that never happened
	// left out.
	Failures map[string]uint64
	// SetAside counts how often an instance was set aside, by the reason of the
	// last failure.
	SetAside map[string]uint64
	// Resolver says how fresh Instances is.
	Resolver ResolverStatus
}

// InstanceStatus is one instance in a Status.
type InstanceStatus struct {
	Endpoint
	// Live counts its connections, those being dialled included.
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
		Name:      o.Name,
		Balance:   o.Balance,
		Live:      int(u.live.Load()),
		Connected: u.connected.Load(),
		Failures:  u.failures.byName(),
		SetAside:  u.asides.byName(),
		Resolver:  u.resolver.Status(),
	}
	set, ok := u.resolver.Set()
	if !ok {
		return s
	}
	s.Known = true
	if set.Ordered {
		s.Balance = Ordered
	}
	if len(set.Endpoints) == 0 {
		return s // without a record of instances for what may never be dialled
	}
	p := u.instancesNow()
	u.mu.Lock()
	defer u.mu.Unlock()
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
