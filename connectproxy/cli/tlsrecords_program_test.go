//go:build linux

package cli

import (
	"encoding/json"
	"testing"
)

// tlsChoice is what file, environment and flags say of a choice about TLS, each
// of which may be silent, and what is wanted of it.
type tlsChoice struct{ setting, variable, flag, want string }

func TestHealthAndTheLogSayWhoseTLSRecordsAreInForce(t *testing.T) {
	const own, crypto = "own", "crypto/tls"
	for name, c := range map[string]tlsChoice{
		"nobody says":                {want: own},
		"the file":                   {setting: crypto, want: crypto},
		"the variable":               {setting: own, variable: crypto, want: crypto},
		"the flag":                   {setting: own, flag: crypto, want: crypto},
		"the flag, not the variable": {setting: crypto, variable: crypto, flag: own, want: own},
	} {
		t.Run(name, func(t *testing.T) {
			tlsInForce(t, "tls_records", "-tls-records", "CONNECT_PROXY_TLS_RECORDS", c)
		})
	}
}

func TestHealthAndTheLogSayWhichKeyExchangeIsInForce(t *testing.T) {
	const classic, hybrid = "classic", "hybrid"
	for name, c := range map[string]tlsChoice{
		"nobody says":                {want: classic},
		"the file":                   {setting: hybrid, want: hybrid},
		"the variable":               {setting: classic, variable: hybrid, want: hybrid},
		"the flag":                   {setting: classic, flag: hybrid, want: hybrid},
		"the flag, not the variable": {setting: hybrid, variable: hybrid, flag: classic, want: classic},
	} {
		t.Run(name, func(t *testing.T) {
			tlsInForce(t, "tls_key_exchange", "-tls-key-exchange", "CONNECT_PROXY_TLS_KEY_EXCHANGE", c)
		})
	}
}

// tlsInForce runs the program with c and compares what it says is in force.
func tlsInForce(t *testing.T, key, flag, variable string, c tlsChoice) {
	t.Helper()
	t.Setenv(variable, c.variable)
	line, setting := `exec "$0" "$@" 2>/dev/null`, ""
	if c.flag != "" {
		line = `exec "$0" "$@" ` + flag + ` ` + c.flag + ` 2>/dev/null`
	}
	if c.setting != "" {
		setting = key + ` = "` + c.setting + `"`
	}
	l := startLogged(t, line, "", setting)
	l.said(`"in force"`, `"`+key+`": "`+c.want+`"`)
	text, err := l.get("/health")
	if err != nil {
		t.Fatal(err)
	}
	var report struct{ Config map[string]any }
	if err := json.Unmarshal([]byte(text), &report); err != nil || report.Config[key] != c.want {
		t.Errorf("/health says %v, want %q; %v", report.Config[key], c.want, err)
	}
	l.serve(1)
}
