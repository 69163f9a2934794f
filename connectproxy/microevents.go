package connectproxy

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
	"connect-proxy/connectproxy/micro"
	"connect-proxy/connectproxy/micro/broker"
	"connect-proxy/listener"
)

// toSubscribers is where connections go that bring events.
const toSubscribers = "subscribers of micro"

// inProcess is where in this process connections from other services go; nil where
// they are relayed to the application.
func (p *Proxy) inProcess(public *config.Public) *listener.InProcess {
	if public.MicroEvents {
		return p.events
	}
	return p.o.InProcess
}

// subscribers are the services that subscribe to events of Micro, as the agent's
// catalog has them.
type subscribers struct {
	p *Proxy
	// found is what was in the tags of an answer with that index. The agent has the
	// same again until something changes, and the tags are much work.
	found map[string][]string
	index uint64
	at    time.Time
}

var _ broker.Catalog = (*subscribers)(nil)

// unfoldAgain is how often tags are read anew in any case: what the token may see
// has no index.
const unfoldAgain = time.Minute

// Services and Behind are broker.Catalog's. Without an agent there are none.
func (s *subscribers) Services(ctx context.Context) (map[string][]string, error) {
	client := s.p.o.Client
	if client == nil {
		return nil, nil
	}
	all, about, err := client.Catalog().Services(microRegistry{p: s.p}.options(ctx, config.Destination{}))
	if err != nil {
		return nil, err
	}
	if s.found != nil && about.LastIndex == s.index && time.Since(s.at) < unfoldAgain {
		return s.found, nil
	}
	found := make(map[string][]string)
	for name, tags := range all {
		if topics := micro.TopicsOf(tags); len(topics) > 0 {
			found[name] = topics
		}
	}
	s.found, s.index, s.at = found, about.LastIndex, time.Now()
	return found, nil
}

func (s *subscribers) Behind(ctx context.Context, name string) ([]string, error) {
	client := s.p.o.Client
	if client == nil {
		return nil, nil
	}
	entries, _, err := client.Health().Service(name, "", true, microRegistry{p: s.p}.options(ctx, config.Destination{}))
	var names []string
	for _, e := range entries {
		behind := name
		if e.Service.Kind == api.ServiceKindConnectProxy && e.Service.Proxy != nil {
			behind = e.Service.Proxy.DestinationServiceName
		}
		if !slices.Contains(names, behind) {
			names = append(names, behind)
		}
	}
	return names, err
}
