package connectproxy

import (
	"connect-proxy/config"
	"connect-proxy/connectproxy/accesslog"
	"connect-proxy/listener"
)

// observer is who is told of the connections of s; nil if nobody is.
func (l *loop) observer(s *spec) listener.Observer {
	if l.o.AccessLog == nil {
		return nil
	}
	source := accesslog.ListenerInfo{Direction: accesslog.Inbound, Service: l.config.Service}
	switch s.key.role {
	case roleByName, roleMicro, roleEdge, roleInternal:
		source.Direction = accesslog.Outbound // each connection has its own
	case roleUpstream:
		source.Direction, source.Destination = accesslog.Outbound, s.name
	default:
		source.Intention = l.authorizer.Reason
	}
	return l.o.AccessLog.Observer(source)
}

// updateAccessLog puts another configuration of the access log in force and
// returns what of it cannot be honoured.
func (p *Proxy) updateAccessLog(c config.AccessLog) []string {
	if p.o.AccessLog == nil {
		return nil
	}
	warnings, err := p.o.AccessLog.Update(c)
	if err != nil {
		return []string{err.Error() + "; the access log stays as it was"}
	}
	return warnings
}
