package adminapi

// Explanation says in words why a connection was refused or ended, and what whoever
// runs the proxy can do about it.
type Explanation struct {
	// Words say what happened to the connection.
	Words string `json:"words"`
	// Advice is what can be done; empty where nothing is wrong.
	Advice string `json:"advice"`
}

// Reasons has each of listener.Reasons by its name. It must not be changed.
var Reasons = map[string]Explanation{
	"closed":             {"both sides closed it", ""},
	"client_reset":       {"the client broke it off", ""},
	"upstream_reset":     {"the far side broke it off", "Look into the log of the application there."},
	"client_lost":        {"the client stopped answering", "Its host died, or packets on the way are dropped."},
	"upstream_lost":      {"the far side stopped answering", "Its host died, or packets on the way are dropped."},
	"client_error":       {"reading from or writing to the client went wrong", "The event has the error."},
	"upstream_error":     {"reading from or writing to the far side went wrong", "The event has the error."},
	"idle_timeout":       {"nothing moved on it for idle_timeout", "Raise idle_timeout, or have the application send keepalives."},
	"max_lifetime":       {"it reached max_lifetime", ""},
	"half_close_timeout": {"one direction had ended and nothing moved in the other", "Raise half_close_timeout if answers take that long."},
	"silent":             {"the client closed without a byte, as health checks do", ""},
	"handshake_failed": {"the client did not prove an identity of this mesh",
		"It is not a Connect proxy, or its certificate is from another CA."},
	"handshake_timeout": {"the client did not finish its TLS handshake in time",
		"Does a plain TCP client use the public port? It must go through its own proxy."},
	"handshake_evicted": {"the client had not finished its handshake when a newer one needed the place",
		"Somebody opens many connections without using them."},
	"denied": {"an intention, or the default policy, does not allow this caller",
		"If it should pass, add an intention that allows it: consul intention create -allow SOURCE DESTINATION"},
	"authorization_unknown": {"nobody could say whether this caller is allowed",
		"The agent cannot be asked, or the proxy's token lacks service:write on its service."},
	"dial_failed": {"the far side did not accept the connection",
		"Inbound: the application is not listening. Outbound: see the instances below."},
	"dial_timeout": {"the far side did not accept the connection in time",
		"Inbound: the application hangs. Outbound: packets to the instances are dropped, by a firewall perhaps."},
	"no_endpoints": {"there is no healthy instance with a Connect proxy",
		"Are the destination and its proxy registered, and do their checks pass? The token needs service:read on them."},
	"upstream_denied": {"every instance refused this proxy's identity",
		"Add an intention on the destination that allows this service."},
	"upstream_unavailable": {"every instance's proxy is up and cannot serve",
		"Look at the destination's own proxy: its application is down, or its agent cannot be asked."},
	"upstream_identity": {"the instance proved to be something else than the catalog says",
		"A stale registration, or another service took the port. Deregister what is gone."},
	"upstream_clock": {"a certificate is not valid by one of the two clocks",
		"Compare the clocks of both machines."},
	"limit": {"a limit on connections was reached",
		"Raise max_inbound_connections or limits.max_connections, or find out who holds so many."},
	"intention_revoked":   {"it was cut since its peer is no longer allowed", "An intention was changed; this is what it does."},
	"destination_changed": {"the instances of its destination changed", "This is what reset_on_change does."},
	"drain":               {"it was still open when the time to drain was over", "Raise drain_timeout if connections need longer."},
	"shutdown":            {"the proxy stopped", ""},
}
