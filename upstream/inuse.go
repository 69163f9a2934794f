package upstream

import "time"

// InUse is the instances by which an Upstream's connections go.
type InUse struct {
	// Endpoints are the instances. Nobody alters them.
	Endpoints []Endpoint
	// Since is a time since which every connection went by these: to instances of
	// the same IDs and addresses. It is zero where there has been none.
	Since time.Time
	// Changes counts how often there were others, the first ones included. What is
	// known of an instance besides its ID and address does not count.
	Changes int
}

// InUse returns the instances by which connections go. ok is false before the first
// connection.
func (u *Upstream) InUse() (in InUse, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return InUse{Endpoints: u.set.Endpoints, Since: u.since, Changes: u.changes}, u.picker.Load() != nil
}
