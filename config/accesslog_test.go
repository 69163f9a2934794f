package config

import (
	"testing"
)

func TestConsulsAccessLogsAreReadAsAgentsWriteThem(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		want   AccessLog
	}{
		"nothing": {`{}`, AccessLog{Connections: AccessLogOff, Type: AccessLogStdout}},
		"enabled": {`{"AccessLogs": {"Enabled": true}}`,
			AccessLog{Connections: AccessLogAll, Enabled: true, Type: AccessLogStdout}},
		"everything": {`{"AccessLogs": {"Enabled": true, "DisableListenerLogs": true, "Type": "file", "Path": "/var/log/x", "JSONFormat": "{\"a\":\"%DURATION%\"}"}}`,
			AccessLog{Connections: AccessLogAll, Enabled: true, DisableListenerLogs: true, Type: AccessLogFile, Path: "/var/log/x", JSONFormat: `{"a":"%DURATION%"}`}},
		"text": {`{"AccessLogs": {"Enabled": true, "Type": "stderr", "TextFormat": "%DURATION%"}}`,
			AccessLog{Connections: AccessLogAll, Enabled: true, Type: AccessLogStderr, TextFormat: "%DURATION%"}},
		"disabled":        {`{"AccessLogs": {"Enabled": false}}`, AccessLog{Connections: AccessLogOff, Type: AccessLogStdout}},
		"only errors":     {`{"Config": {"access_log": "errors"}}`, AccessLog{Connections: AccessLogErrors, Type: AccessLogStdout}},
		"errors of those": {`{"AccessLogs": {"Enabled": true}, "Config": {"access_log": "errors"}}`, AccessLog{Connections: AccessLogErrors, Enabled: true, Type: AccessLogStdout}},
	} {
		s, err := unmarshal[serviceAnswer](`{"Kind": "connect-proxy", "ID": "web-proxy", "Proxy": ` + tc.answer + `}`)
		if err != nil {
			t.Fatal(err)
		}
		r := &registration{}
		r.registered(s, "web-proxy")
		if got := r.cfg.WithDefaults().AccessLog; got != tc.want || len(r.mistakes) > 0 {
			t.Errorf("%s: %+v, %v; want %+v", name, got, r.mistakes, tc.want)
		}
	}
}
