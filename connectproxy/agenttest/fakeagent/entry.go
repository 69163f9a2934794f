package fakeagent

// entry is an instance as health and prepared queries show it, in the words of
// the version that is played.
func (a *Agent) entry(i Instance, index uint64) map[string]any {
	i.Node = orDefault(i.Node, "node-1")
	i.NodeAddress = orDefault(i.NodeAddress, "127.0.0.1")
	i.ID = orDefault(i.ID, i.Service+"-sidecar-proxy")
	service := a.serviceOf(i, index)
	node := map[string]any{
		"ID":              "00000000-0000-4000-8000-000000000001",
		"Node":            i.Node,
		"Address":         i.NodeAddress,
		"Datacenter":      orDefault(i.Datacenter, a.dc),
		"TaggedAddresses": map[string]any{"lan": i.NodeAddress, "wan": i.NodeAddress},
		"Meta":            map[string]any{"consul-network-segment": ""},
		"CreateIndex":     index,
		"ModifyIndex":     index,
	}
	if i.Partition != "" {
		node["Partition"] = i.Partition
	}
	return map[string]any{
		"Node":    node,
		"Service": service,
		"Checks": []map[string]any{
			a.check(i, check{id: "serfHealth", name: "Serf Health Status", status: "passing", output: "Agent alive and reachable"}, index),
			a.check(i, check{
				id: "service:" + i.ID + ":1", name: "Connect Sidecar Listening", kind: "tcp",
				status: orDefault(i.Status, "passing"), service: service["Service"].(string),
			}, index),
		},
	}
}

func (a *Agent) serviceOf(i Instance, index uint64) map[string]any {
	weight := max(i.Weight, 1)
	tags := i.Tags
	if tags == nil {
		tags = []string{}
	}
	s := map[string]any{
		"ID":                i.ID,
		"Service":           i.Service,
		"Tags":              tags,
		"Address":           i.Address,
		"Meta":              nil,
		"Port":              i.Port,
		"Weights":           map[string]any{"Passing": weight, "Warning": 1},
		"EnableTagOverride": false,
		"Proxy":             map[string]any{},
		"Connect":           map[string]any{},
		"CreateIndex":       index,
		"ModifyIndex":       index,
	}
	proxy := map[string]any{}
	if a.managed {
		s["ProxyDestination"] = ""
	} else {
		s["PeerName"] = ""
		proxy = map[string]any{"Mode": "", "MeshGateway": map[string]any{}, "Expose": map[string]any{}}
	}
	s["Proxy"] = proxy
	if i.Native {
		s["Connect"] = map[string]any{"Native": true}
	} else {
		s["Kind"] = "connect-proxy"
		s["Service"] = i.Service + "-sidecar-proxy"
		proxy["DestinationServiceName"] = i.Service
		proxy["DestinationServiceID"] = i.Service
		proxy["LocalServiceAddress"] = "127.0.0.1"
		proxy["LocalServicePort"] = 8080
	}
	for key, value := range map[string]string{"Namespace": i.Namespace, "Partition": i.Partition} {
		if value != "" {
			s[key] = value
		}
	}
	return s
}

type check struct{ id, name, kind, status, output, service string }

func (a *Agent) check(i Instance, c check, index uint64) map[string]any {
	tags := []string{}
	id := ""
	if c.service != "" {
		id = i.ID
		tags = append(tags, i.Tags...)
	}
	m := map[string]any{
		"Node":        i.Node,
		"CheckID":     c.id,
		"Name":        c.name,
		"Status":      c.status,
		"Notes":       "",
		"Output":      c.output,
		"ServiceID":   id,
		"ServiceName": c.service,
		"ServiceTags": tags,
		"Definition":  map[string]any{},
		"CreateIndex": index,
		"ModifyIndex": index,
	}
	if !a.managed {
		m["Type"], m["Interval"], m["Timeout"], m["ExposedPort"] = c.kind, "", "", 0
	}
	return m
}
