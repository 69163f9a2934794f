package micro

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"connect-proxy/config"
)

// Instance is an instance of a service as Consul's catalog has it.
type Instance struct {
	// ID is the service's ID.
	ID string
	// Address is an IP address or a host name, the node's where the service has
	// none of its own.
	Address string
	// Port is the service's; zero where it has none.
	Port int
	// Tags are the service's. Micro's own registry puts a service's version and
	// endpoints into them, in hexadecimal digits of zlib's form.
	Tags []string
	// Meta may be nil.
	Meta map[string]string
}

// Registry is what /registry shows. Its methods ask the agent, and must return when
// ctx is done. They are called one at a time, and an answer is used for a second.
type Registry interface {
	// Services returns the names of all services, in any order.
	Services(ctx context.Context) ([]string, error)
	// Instances returns the healthy instances of a service, and where there are none
	// those of its proxies; none is no error.
	Instances(ctx context.Context, d config.Destination) ([]Instance, error)
}

// registryService and registryNode are Micro's form of services.
type registryService struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Metadata  map[string]string `json:"metadata"`
	Endpoints []json.RawMessage `json:"endpoints"`
	Nodes     []registryNode    `json:"nodes"`
}

type registryNode struct {
	ID       string            `json:"id"`
	Address  string            `json:"address"`
	Port     int               `json:"port"`
	Metadata map[string]string `json:"metadata"`
}

// registryTime bounds a question to the agent.
const registryTime = 10 * time.Second

// serveRegistry answers /registry: with the services that may be called, by name,
// or one with its instances; with their changes, by a websocket; and registers.
func (s *Server) serveRegistry(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("service")
	switch {
	case r.Method == http.MethodPost, r.Method == http.MethodDelete:
		s.serveRegistration(w, r)
	case r.Method != http.MethodGet:
		http.Error(w, "method not allowed: GET reads, POST registers, DELETE deregisters", http.StatusMethodNotAllowed)
	case wantsSocket(r):
		s.serveWatch(w, r, name)
	case name == "":
		found, err := s.list(r.Context(), time.Now().Add(-fresh))
		writeServices(w, found, err)
	default:
		d, failed := s.named(name)
		if failed != nil {
			s.refused(r, name, failed)
			writeFailure(w, failed)
			return
		}
		found, err := s.describe(r.Context(), d, time.Now().Add(-fresh))
		if err == nil && len(found) == 0 {
			http.Error(w, "Service not found", http.StatusNotFound)
			return
		}
		writeServices(w, found, err)
	}
}

func writeServices(w http.ResponseWriter, found []registryService, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(found)
}

// list is the services that may be called, by name alone and sorted, as the agent
// has said since a moment or says now.
func (s *Server) list(ctx context.Context, since time.Time) ([]registryService, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	all, err := s.answers.get(ctx, config.Destination{}, since, func() ([]registryService, error) {
		names, err := s.o.Registry.Services(ctx)
		slices.Sort(names)
		all := make([]registryService, 0, len(names))
		for _, name := range names {
			all = append(all, registryService{Name: name})
		}
		return all, err
	})
	return slices.DeleteFunc(slices.Clone(all), func(l registryService) bool {
		_, failed := s.named(l.Name)
		return failed != nil
	}), err
}

// describe is one service, once for each version that its instances have, as the
// agent has said since a moment or says now.
func (s *Server) describe(ctx context.Context, d config.Destination, since time.Time) ([]registryService, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTime)
	defer cancel()
	return s.answers.get(ctx, d, since, func() ([]registryService, error) {
		instances, err := s.o.Registry.Instances(ctx, d)
		return versions(d.Name, instances), err
	})
}

// versions are a service's instances by their versions, in the order of their IDs.
func versions(name string, instances []Instance) (all []registryService) {
	slices.SortStableFunc(instances, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	left := &unfolding{maxUnfolded}
	for _, in := range instances {
		version, metadata, endpoints := unfold(in, left)
		i := slices.IndexFunc(all, func(have registryService) bool { return have.Version == version })
		if i < 0 {
			i = len(all)
			all = append(all, registryService{Name: name, Version: version, Endpoints: endpoints})
		}
		all[i].Nodes = append(all[i].Nodes, registryNode{in.ID, in.Address, in.Port, metadata})
	}
	return all
}
