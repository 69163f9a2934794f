package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream/watch"
)

// meshPace is how often the mesh's configuration entry is asked for, and
// unknownMeshPace the same of an agent that knows of no such entries: it may have
// been replaced by a newer one, and logs an error for each question.
const (
	meshPace        = 15 * time.Second
	unknownMeshPace = time.Hour
)

// meshTLS is what the mesh's configuration entry says of TLS: the bounds of a
// whole mesh, which a proxy's own settings may only narrow. Consul has it since
// 1.12. It is comparable.
type meshTLS struct{ incoming, outgoing tlsBounds }

// tlsBounds are the versions and the TLS 1.2 suites of one direction. Zero and
// empty mean that nothing is said.
type tlsBounds struct {
	min, max uint16
	suites   string // their names, separated by spaces
}

// versions are Consul's names. Those below TLS 1.2 are never spoken here.
var versions = map[string]uint16{
	"": 0, "TLS_AUTO": 0, "TLSv1_0": tls.VersionTLS10, "TLSv1_1": tls.VersionTLS11,
	"TLSv1_2": tls.VersionTLS12, "TLSv1_3": tls.VersionTLS13,
}

// newMeshWatch watches the mesh's configuration entry. An agent that has none, or
// has never known of such entries, says nothing of TLS.
func newMeshWatch(o Options) *watch.Watch[meshTLS] {
	var unknown atomic.Bool
	return watch.New(watch.Options[meshTLS]{
		Name: "mesh configuration entry", Fetch: fetchMesh(o, &unknown), Equal: func(a, b meshTLS) bool { return a == b },
		Pace: func() time.Duration {
			if unknown.Load() {
				return unknownMeshPace
			}
			return meshPace
		},
		Logger: o.Logger,
	})
}

// fetchMesh asks for all entries of the kind, of which there is one at most: to be
// asked for one that is not there is an error to an agent, which logs it. Once
// there are bounds, they stay until the leader itself says otherwise: neither a
// server that lags behind it nor an agent that no longer knows of such entries
// takes them away.
func fetchMesh(o Options, unknown *atomic.Bool) watch.Fetch[meshTLS] {
	var latest meshTLS // one question is asked at a time
	return func(ctx context.Context, _ watch.Cursor, _ time.Duration) (meshTLS, watch.Cursor, error) {
		bounded := latest != (meshTLS{})
		q := (&api.QueryOptions{Partition: o.Partition, AllowStale: !bounded}).WithContext(ctx)
		entries, _, err := o.Client.ConfigEntries().List(api.MeshConfig, q)
		var status api.StatusError
		none := errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusBadRequest) ||
			err != nil && strings.Contains(err.Error(), "invalid config entry kind")
		unknown.Store(none && !bounded)
		switch {
		case none && bounded:
			return meshTLS{}, watch.Cursor{}, fmt.Errorf("the agent no longer knows of such entries; what it said last stays in force: %w", err)
		case none:
			return meshTLS{}, watch.Cursor{}, nil
		case err != nil:
			return meshTLS{}, watch.Cursor{}, err
		}
		if latest, err = boundsOfAll(entries, latest); err != nil {
			return meshTLS{}, watch.Cursor{}, fmt.Errorf("reading the mesh configuration entry: %w", err)
		}
		return latest, watch.Cursor{}, nil
	}
}

// boundsOfAll returns what the only entry says, nothing where there is none, and
// latest with an error.
func boundsOfAll(entries []api.ConfigEntry, latest meshTLS) (meshTLS, error) {
	if len(entries) == 0 {
		return meshTLS{}, nil
	}
	mesh, ok := entries[0].(*api.MeshConfigEntry)
	if !ok {
		return latest, fmt.Errorf("the agent answered with one of kind %q", entries[0].GetKind())
	}
	if mesh.TLS == nil {
		return meshTLS{}, nil
	}
	incoming, errIn := boundsOf(mesh.TLS.Incoming)
	outgoing, errOut := boundsOf(mesh.TLS.Outgoing)
	if err := errors.Join(errIn, errOut); err != nil {
		return latest, err
	}
	return meshTLS{incoming, outgoing}, nil
}

func boundsOf(d *api.MeshDirectionalTLSConfig) (tlsBounds, error) {
	if d == nil {
		return tlsBounds{}, nil
	}
	for _, name := range []string{d.TLSMinVersion, d.TLSMaxVersion} {
		if _, known := versions[name]; !known {
			return tlsBounds{}, fmt.Errorf("TLS version %q is unknown", name)
		}
	}
	return tlsBounds{versions[d.TLSMinVersion], versions[d.TLSMaxVersion], strings.Join(d.CipherSuites, " ")}, nil
}

// apply narrows a TLS configuration to the bounds.
func (b tlsBounds) apply(cfg *tls.Config) {
	cfg.MinVersion = max(cfg.MinVersion, b.min)
	if b.max != 0 {
		// Below TLS 1.2 nothing is spoken: no handshake succeeds then.
		cfg.MaxVersion = b.max
	}
	if b.suites == "" {
		return
	}
	if cfg.CipherSuites = b.known(); len(cfg.CipherSuites) == 0 {
		// None that Go has: TLS 1.3 has suites of its own, TLS 1.2 is left out.
		cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS13)
	}
}

// check reports a finished handshake that the bounds do not allow, as one that
// began before they came into force.
func (b tlsBounds) check(cs tls.ConnectionState) error {
	if cs.Version < b.min || b.max != 0 && cs.Version > b.max ||
		b.suites != "" && cs.Version < tls.VersionTLS13 && !slices.Contains(b.known(), cs.CipherSuite) {
		return fmt.Errorf("the mesh no longer allows %s with %s", tls.VersionName(cs.Version), tls.CipherSuiteName(cs.CipherSuite))
	}
	return nil
}

// known are the IDs of the suites that Go has.
func (b tlsBounds) known() []uint16 {
	var ids []uint16
	for _, s := range tls.CipherSuites() {
		if slices.Contains(strings.Fields(b.suites), s.Name) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// unknown are the names of the suites that Go does not have.
func (b tlsBounds) unknown() []string {
	return slices.DeleteFunc(strings.Fields(b.suites), func(name string) bool {
		return slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
	})
}

// String is the bounds in words, for logs and status; empty if there are none.
func (b tlsBounds) String() string {
	var parts []string
	if b.min != 0 {
		parts = append(parts, "at least "+tls.VersionName(b.min))
	}
	if b.max != 0 {
		parts = append(parts, "at most "+tls.VersionName(b.max))
	}
	if b.suites != "" {
		parts = append(parts, "of TLS 1.2 only "+b.suites)
	}
	return strings.Join(parts, ", ")
}

// problems are what of the bounds cannot be done, a sentence each.
func (b tlsBounds) problems() []string {
	var p []string
	if b.max != 0 && b.max < tls.VersionTLS12 {
		p = append(p, tls.VersionName(b.max)+" and older are not spoken by this proxy, so that no connection can be made")
	}
	if b.max != 0 && b.max < b.min {
		p = append(p, "the newest version allowed is older than the oldest, so that no connection can be made")
	}
	if u := b.unknown(); len(u) > 0 {
		p = append(p, "this proxy does not have the suites "+strings.Join(u, " "))
	}
	if b.suites != "" && len(b.known()) == 0 {
		p = append(p, "none of the suites is known, so that TLS 1.2 is not spoken")
	}
	return p
}

// logMesh tells of bounds that come into force.
func (i *Identity) logMesh(m meshTLS) {
	i.o.Logger.Info("TLS as the mesh configuration entry has it", "incoming", m.incoming.String(), "outgoing", m.outgoing.String())
	for direction, b := range map[string]tlsBounds{"incoming": m.incoming, "outgoing": m.outgoing} {
		for _, p := range b.problems() {
			i.o.Logger.Error("TLS as the mesh configuration entry has it cannot be done", "direction", direction, "reason", p)
		}
	}
}

// meshAnswered returns the mesh's bounds; ok is false while the agent was not
// heard of them at all. One that cannot be asked for this, though it gave leaf
// and roots, holds up nothing: the proxy's own bounds hold, and the watch says
// what is wrong.
func (i *Identity) meshAnswered() (m meshTLS, ok bool) {
	m, ok = i.mesh.Latest()
	return m, ok || i.mesh.Status().Err != nil
}
