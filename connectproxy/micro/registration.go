package micro

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/listener"
)

const (
	// maxRegistration bounds what an application registers, in bytes.
	maxRegistration = 256 << 10
	// maxNodes is how many instances it may register at once.
	maxNodes = 16
	// maxTTL bounds for how long an instance need not be heard of.
	maxTTL = 24 * time.Hour
)

// Registration is an instance that an application registers.
type Registration struct {
	// Service is the name of the service, and ID that of the instance, unique in the
	// agent.
	Service, ID string
	// Address is an IP address or a host name; empty means the agent's node.
	Address string
	// Port is a TCP port, never zero.
	Port int
	// Tags have version, metadata and endpoints in the form of Micro's registry of
	// Consul.
	Tags []string
	// Meta is the metadata once more, as far as Consul can have it; it may be nil.
	Meta map[string]string
	// TTL is how long the instance counts as healthy after it was registered; zero
	// means for as long as it is registered.
	TTL time.Duration
}

// Registrar registers instances with the agent. Its methods return when ctx is
// done, and an error that is ErrForeign where the ID is one of somebody else's
// registrations.
type Registrar interface {
	// Register makes the agent know an instance, and that it is healthy.
	Register(ctx context.Context, r Registration) error
	// Deregister makes it forget one; that it knows none is no error.
	Deregister(ctx context.Context, id string) error
}

// ErrForeign says that an ID belongs to what was not registered through /registry.
var ErrForeign = errors.New("the agent has a service with this ID that was not registered through /registry: use another ID")

// written is what an application sends. The letters of its keys may be small or not.
// Version 0 of Micro has the port of a node apart, the others behind the address.
type written struct {
	Name      string
	Version   string
	Endpoints []json.RawMessage
	Nodes     []registryNode
}

// serveRegistration answers POST and DELETE at /registry.
func (s *Server) serveRegistration(w http.ResponseWriter, r *http.Request) {
	var body written
	sent, err := io.ReadAll(bodyOf(w, r, maxRegistration))
	if err == nil {
		err = json.Unmarshal(sent, &body)
	}
	if err != nil {
		writeFailure(w, badRequest(fmt.Errorf("reading the JSON of the service: %w", err)))
		return
	}
	d, failed := s.registrable(body.Name)
	if failed != nil {
		s.refused(r, body.Name, failed)
		writeFailure(w, failed)
		return
	}
	if err := body.check(); err != nil {
		writeFailure(w, badRequest(err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	if r.Method == http.MethodDelete {
		err = s.deregister(ctx, body)
	} else {
		var all []Registration
		if all, err = registrations(d.Name, body, r.URL.Query().Get("ttl")); err != nil {
			writeFailure(w, badRequest(err))
			return
		}
		err = s.register(ctx, all)
	}
	s.answers.forget(config.Destination{})
	s.answers.forget(d)
	switch {
	case errors.Is(err, ErrForeign):
		failed := undelivered(listener.ReasonDenied, err)
		s.refused(r, d.Name, failed)
		writeFailure(w, failed)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *Server) register(ctx context.Context, all []Registration) error {
	for _, r := range all {
		if err := s.o.Registrar.Register(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) deregister(ctx context.Context, what written) error {
	for _, n := range what.Nodes {
		if err := s.o.Registrar.Deregister(ctx, n.ID); err != nil {
			return err
		}
	}
	return nil
}

// check says what is wrong with the nodes.
func (w written) check() error {
	if n := len(w.Nodes); n == 0 || n > maxNodes {
		return fmt.Errorf("%d nodes: give 1 to %d", n, maxNodes)
	}
	for _, n := range w.Nodes {
		if !idForm.MatchString(n.ID) || len(n.ID) > maxID {
			return fmt.Errorf("a node's id: %.80q: give letters, digits, dashes, underscores, dots and colons, %d at most", n.ID, maxID)
		}
	}
	return nil
}

// registrable is the service of that name, if it may be registered.
func (s *Server) registrable(name string) (config.Destination, *failure) {
	d, err := s.o.Destination(name)
	switch {
	case err != nil:
		return d, badRequest(err)
	case d != config.Destination{Type: config.Service, Name: strings.ToLower(name)}:
		return d, badRequest(fmt.Errorf("%.80q is not the bare name of a service, which alone can be registered", name))
	case !s.rules.Load().register.Allows(d):
		return d, undelivered(listener.ReasonDenied, fmt.Errorf("micro does not allow %s to be registered: add it to register", d.Pattern()))
	}
	return d, nil
}

// registrations are the instances of a service, one for each node.
func registrations(service string, body written, ttl string) ([]Registration, error) {
	var lives time.Duration
	if ttl != "" {
		var err error
		if lives, err = time.ParseDuration(ttl); err != nil || lives <= 0 || lives > maxTTL {
			return nil, fmt.Errorf("ttl: %.40q: give a duration with its unit, such as 30s, of at most %s", ttl, maxTTL)
		}
	}
	all := make([]Registration, 0, len(body.Nodes))
	for _, n := range body.Nodes {
		host, port, err := n.hostPort()
		if err != nil {
			return nil, err
		}
		all = append(all, Registration{
			Service: service, ID: n.ID, Address: host, Port: port, TTL: lives,
			Tags: foldInstance(body.Version, n.Metadata, body.Endpoints), Meta: metaOf(n.Metadata),
		})
	}
	return all, nil
}

// maxID bounds an instance's ID, in bytes.
const maxID = 128

var (
	// idForm has what can stand in the path of a request to the agent as it is. It
	// begins with a letter or a digit: it is no step up in a path.
	idForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]*$`)
	hostForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]*$`)
)

// hostPort is where the node listens.
func (n registryNode) hostPort() (host string, port int, err error) {
	host, port = n.Address, n.Port
	if h, p, err := net.SplitHostPort(n.Address); err == nil && port == 0 {
		host = h
		port, _ = strconv.Atoi(p)
	}
	if !hostForm.MatchString(host) || len(host) > maxID || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("a node's address: %.80q, port %d: give the host's address or name, and a port", n.Address, n.Port)
	}
	return host, port, nil
}

// What Consul can have as a service's metadata. Keys that begin with consul- are
// its own.
const (
	maxMeta      = 32
	maxMetaValue = 512
)

var metaForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func metaOf(metadata map[string]string) map[string]string {
	meta := maps.Clone(metadata)
	maps.DeleteFunc(meta, func(k, v string) bool {
		return !metaForm.MatchString(k) || len(v) > maxMetaValue || strings.HasPrefix(k, "consul-")
	})
	if len(meta) > maxMeta {
		return nil // the tags have it
	}
	return meta
}
