package config

// dynamicKeys are about destinations that are named at run time. They stand at the
// top of a file, and in the opaque configuration of a proxy that an agent knows.
var dynamicKeys = keys[Config]{
	"by_name": {
		begin: func(c *Config) { c.byName() },
		block: inside((*Config).byName, byNameKeys),
	},
	"micro": {
		begin: func(c *Config) { c.micro() },
		block: inside((*Config).micro, microKeys),
	},
	"dynamic_upstreams": {block: inside((*Config).dynamicSettings, dialKeys)},
}

func (c *Config) dynamicSettings() *Upstream {
	if c.DynamicUpstreams == nil {
		c.DynamicUpstreams = &Upstream{}
	}
	return c.DynamicUpstreams
}

// NamesAtRunTime reports whether anything names destinations at run time.
func (c Config) NamesAtRunTime() bool { return c.ByName != nil || c.Micro.Listens() || c.Edge != nil }

// dynamicUpstreams are the settings with their defaults, or nil where they mean
// nothing.
func (c Config) dynamicUpstreams() *Upstream {
	if !c.NamesAtRunTime() {
		return c.DynamicUpstreams
	}
	var u Upstream
	if c.DynamicUpstreams != nil {
		u = *c.DynamicUpstreams
	}
	u.PassiveHealth = u.PassiveHealth.withDefaults()
	u.Limits = u.Limits.withDefaults()
	return &u
}
