package config

import (
	"cmp"
	"encoding/json"
	"strings"
)

// AccessLog says which connections are recorded in the access log, where, and in
// what form. It is comparable.
type AccessLog struct {
	// Connections says which connections are recorded; empty means all of them
	// where Enabled is set, and none otherwise.
	Connections AccessLogConnections
	// Enabled is that of Consul's AccessLogs. Records without a format of their
	// own are in JSON then, with the fields that Envoy writes in Consul.
	Enabled bool
	// DisableListenerLogs leaves connections out that end before their client
	// has proven an identity.
	DisableListenerLogs bool
	// Type is where records go; empty means standard output.
	Type AccessLogType
	// Path is the file of AccessLogFile. It is opened again when it was rotated.
	Path string
	// JSONFormat is an object whose texts have Envoy's command operators in them,
	// TextFormat a text with them. At most one is given.
	JSONFormat, TextFormat string
}

// AccessLogConnections names the connections that are recorded.
type AccessLogConnections string

const (
	// AccessLogOff records none.
	AccessLogOff AccessLogConnections = "off"
	// AccessLogErrors records those that did not end in an orderly way; health
	// checks are not among them.
	AccessLogErrors AccessLogConnections = "errors"
	// AccessLogAll records every one.
	AccessLogAll AccessLogConnections = "all"
)

// AccessLogType names where records go.
type AccessLogType string

const (
	// AccessLogStdout is standard output, standard error for a managed proxy.
	AccessLogStdout AccessLogType = "stdout"
	// AccessLogStderr is standard error.
	AccessLogStderr AccessLogType = "stderr"
	// AccessLogFile is the file AccessLog.Path.
	AccessLogFile AccessLogType = "file"
)

// accessLogKeys stand at the top of a file, and in the opaque configuration of a
// proxy that an agent knows.
var accessLogKeys = keys[Config]{
	"access_log": into(func(c *Config) *AccessLogConnections { return &c.AccessLog.Connections }, named[AccessLogConnections]),
}

// accessLogsKeys are Consul's block access_logs: in a file's, and in a
// registration's own fields.
var accessLogsKeys = keys[Config]{
	"enabled":               into(func(c *Config) *bool { return &c.AccessLog.Enabled }, value.yesNo),
	"disable_listener_logs": into(func(c *Config) *bool { return &c.AccessLog.DisableListenerLogs }, value.yesNo),
	"type":                  into(func(c *Config) *AccessLogType { return &c.AccessLog.Type }, named[AccessLogType]),
	"path":                  into(func(c *Config) *string { return &c.AccessLog.Path }, value.text),
	"json_format":           into(func(c *Config) *string { return &c.AccessLog.JSONFormat }, value.text),
	"text_format":           into(func(c *Config) *string { return &c.AccessLog.TextFormat }, value.text),
}

// Off reports whether nothing is recorded.
func (a AccessLog) Off() bool { return a.Connections == AccessLogOff || a.Connections == "" }

// Override returns a with the connections by, if that says something.
func (a AccessLog) Override(by AccessLogConnections) AccessLog {
	a.Connections = cmp.Or(by, a.Connections)
	return a
}

func (a AccessLog) withDefaults() AccessLog {
	otherwise := AccessLogOff
	if a.Enabled {
		otherwise = AccessLogAll
	}
	a.Connections = cmp.Or(a.Connections, otherwise)
	a.Type = cmp.Or(a.Type, AccessLogStdout)
	return a
}

// Validate names the mistake in c; what is empty is none.
func (c AccessLogConnections) Validate() []Mistake {
	var v checks
	v.accessLogConnections(c)
	return v.mistakes
}

func (v *checks) accessLogConnections(c AccessLogConnections) {
	switch c {
	case "", AccessLogOff, AccessLogErrors, AccessLogAll:
	default:
		v.addMistake("access_log", quoted(string(c)), "use off, errors or all")
	}
}

func (v *checks) accessLog(a AccessLog) {
	v.accessLogConnections(a.Connections)
	switch a.Type {
	case "", AccessLogStdout, AccessLogStderr:
		if a.Path != "" {
			v.addMistake("access_logs.path", quoted(a.Path), `goes with type "file" only`)
		}
	case AccessLogFile:
		if a.Path == "" {
			v.missing("access_logs.path", `name the file for type "file"`)
		}
	default:
		v.addMistake("access_logs.type", quoted(string(a.Type)), "use stdout, stderr or file")
	}
	if a.JSONFormat != "" && a.TextFormat != "" {
		v.addMistake("access_logs.text_format", quoted(a.TextFormat), "there is a json_format too: give one of them")
	}
	if a.JSONFormat != "" && (!json.Valid([]byte(a.JSONFormat)) || !strings.HasPrefix(strings.TrimSpace(a.JSONFormat), "{")) {
		v.addMistake("access_logs.json_format", quoted(a.JSONFormat), "not a JSON object")
	}
}
