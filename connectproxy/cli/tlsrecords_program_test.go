//go:build linux

package cli

import (
	"encoding/json"
	"testing"
)

func TestHealthAndTheLogSayWhoseTLSRecordsAreInForce(t *testing.T) {
	for name, c := range map[string]struct{ setting, variable, want string }{
		"nobody says":  {want: "own"},
		"the file":     {setting: `tls_records = "crypto/tls"`, want: "crypto/tls"},
		"the variable": {setting: `tls_records = "own"`, variable: "crypto/tls", want: "crypto/tls"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CONNECT_PROXY_TLS_RECORDS", c.variable)
			l := startLogged(t, `exec "$0" "$@" 2>/dev/null`, "", c.setting)
			l.said(`"in force"`, `"tls_records": "`+c.want+`"`)
			text, err := l.get("/health")
			if err != nil {
				t.Fatal(err)
			}
			var report struct {
				Config struct {
					Records string `json:"tls_records"`
				} `json:"config"`
			}
			if err := json.Unmarshal([]byte(text), &report); err != nil || report.Config.Records != c.want {
				t.Errorf("/health says %q, want %q; %v", report.Config.Records, c.want, err)
			}
			l.serve(1)
		})
	}
}
