package register

import (
	"cmp"
	"net"
	"reflect"
	"slices"

	"github.com/hashicorp/consul/api"

	"connect-proxy/config"
)

// registered is a registration as the agent has it. The zero value is none.
type registered struct {
	asked *api.AgentServiceRegistration // the agent may have it
	as    *api.AgentServiceRegistration // as the agent last took it
	said  Readiness                     // what the check last said
}

// wanted is a registration as the agent is to have it.
type wanted struct {
	has *registered
	as  *api.AgentServiceRegistration // nil where there is to be none
	// check is the name of its check, and now what that has to say.
	check string
	now   Readiness
}

// wanted are the registrations that c asks for, in the order in which they are made.
// A proxy is no readier than its application.
func (r *Registrar) wanted(c *config.Config) []wanted {
	application := wanted{has: &r.application, check: "Health of the application", now: Readiness{Ready: true}}
	proxy := wanted{has: &r.proxy, as: r.options.registration(c), check: "Connect proxy readiness", now: r.subject.Readiness()}
	if c.RegistersApplication() {
		application.as = r.options.application(c)
		if r.subject.Application != nil {
			application.now = r.subject.Application()
		}
		if !application.now.Ready {
			proxy.now = Readiness{Reasons: slices.Concat(proxy.now.Reasons, application.now.Reasons)}
		}
	}
	return []wanted{application, proxy}
}

func (h registered) changed(w wanted) bool {
	return !reflect.DeepEqual(h.as, w.as) || w.as != nil && !reflect.DeepEqual(h.said, w.now)
}

// name is the service's that it takes a permission on to change.
func (w wanted) name() string {
	if w.as == nil {
		return w.has.as.Name
	}
	return w.as.Name
}

func (w wanted) checkID() string {
	if w.as.Kind == api.ServiceKindConnectProxy {
		return w.as.ID + "-readiness"
	}
	return w.as.ID + "-health"
}

// destinationID is the ID of the service behind the proxy, empty if unknown.
func (o *Options) destinationID(c *config.Config) string {
	if c.RegistersApplication() {
		return cmp.Or(o.ApplicationID, c.ServiceID, c.Service)
	}
	return c.ServiceID
}

// application returns what the agent is to know of the application behind a proxy
// that runs by c. Where it listens on loopback alone, its address is the node's:
// loopback is another machine to whoever is told.
func (o *Options) application(c *config.Config) *api.AgentServiceRegistration {
	at := c.Micro.Server.Address
	reg := &api.AgentServiceRegistration{
		ID: o.destinationID(c), Name: c.Service, Port: at.Port, SocketPath: at.Path,
		Namespace: c.Namespace, Partition: c.Partition,
	}
	ip := net.ParseIP(at.Host)
	if at.Path == "" && at.Host != "localhost" && (ip == nil || !ip.IsLoopback() && !ip.IsUnspecified()) {
		reg.Address = at.Host
	}
	return reg
}

// topicTag begins a tag that says which events of Micro the service subscribes to.
const topicTag = "micro-topic="

// registration returns what the agent is to know of a proxy that runs by c.
func (o *Options) registration(c *config.Config) *api.AgentServiceRegistration {
	reg := &api.AgentServiceRegistration{
		Kind:      api.ServiceKindConnectProxy,
		ID:        o.ID,
		Name:      o.Name,
		Address:   o.Address,
		Port:      o.Port,
		Namespace: c.Namespace,
		Partition: c.Partition,
		Proxy: &api.AgentServiceConnectProxyConfig{
			DestinationServiceName: c.Service,
			DestinationServiceID:   o.destinationID(c),
		},
	}
	if c.Public == nil {
		return reg
	}
	if reg.Port == 0 {
		reg.Port = c.Public.Bind.Port
	}
	if c.Public.MicroEvents {
		for _, topic := range c.Micro.Topics {
			reg.Tags = append(reg.Tags, topicTag+topic)
		}
		return reg
	}
	if local := c.Public.Local; local.Path == "" {
		reg.Proxy.LocalServiceAddress = local.Host
		reg.Proxy.LocalServicePort = local.Port
	}
	return reg
}
