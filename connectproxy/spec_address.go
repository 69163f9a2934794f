package connectproxy

import "connect-proxy/config"

// to returns where connections go, for people.
func (s *spec) to() string {
	switch {
	case s.public != nil && s.public.MicroEvents:
		return toSubscribers
	case s.public != nil:
		return describeAddress(s.public.Local)
	case s.named():
		return "what its clients name"
	}
	return s.upstream.Destination.String()
}

// address returns where a listener is.
func (s *spec) address() string {
	switch {
	case s.key.role == roleInternal:
		return string(roleInternal)
	case s.withoutPort():
		return inProcess
	}
	return s.bind.String()
}

// describeAddress returns an address as people write it in a configuration.
func describeAddress(a config.Address) string {
	if a.Path != "" {
		return "unix:" + a.Path
	}
	return a.String()
}
