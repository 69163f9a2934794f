package connectproxy

import (
	"fmt"
	"strings"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/adminapi"
)

// settingWriter collects settings. A value that is the default's is shown as
// such, whoever said it.
type settingWriter struct {
	from     string
	prefix   string
	settings []adminapi.Setting
}

func (w *settingWriter) add(key string, value, otherwise any) {
	s := adminapi.Setting{Key: w.prefix + key, Value: shown(value), Origin: w.from}
	if s.Value == shown(otherwise) {
		s.Origin = "default"
	}
	w.settings = append(w.settings, s)
}

// addOptional adds a setting that has no default, where it has a value.
func (w *settingWriter) addOptional(key, value string) {
	if value != "" {
		w.settings = append(w.settings, adminapi.Setting{Key: w.prefix + key, Value: value, Origin: w.from})
	}
}

func (w *settingWriter) listed(key string, values []string) {
	w.addOptional(key, strings.Join(values, ", "))
}

// set adds a switch that is off by default, where it is on.
func (w *settingWriter) set(key string, on bool) {
	if on {
		w.addOptional(key, "true")
	}
}

// by changes the origin of the last setting, where a flag beat it.
func (w *settingWriter) by(flag string, given bool) {
	if given {
		w.settings[len(w.settings)-1].Origin = flag
	}
}

func shown(v any) string {
	switch v := v.(type) {
	case time.Duration:
		if v == 0 {
			return "no limit"
		}
		return v.String()
	case int:
		if v == 0 {
			return "no limit"
		}
	}
	return fmt.Sprint(v)
}

// bind adds an address that is listened on; field begins the names of its settings.
func (w *settingWriter) bind(a config.Address, field string) {
	if a.Path != "" {
		w.addOptional(field+"socket_path", a.Path)
		if a.Mode != 0 {
			w.addOptional(field+"socket_mode", fmt.Sprintf("%#o", uint32(a.Mode)))
		}
		return
	}
	w.add(field+"address", a.Host, "")
	w.addOptional(field+"port", fmt.Sprint(a.Port))
}

func (w *settingWriter) limits(l, none config.Limits) {
	w.add("idle_timeout", l.IdleTimeout, none.IdleTimeout)
	w.add("max_lifetime", l.MaxLifetime, none.MaxLifetime)
	w.add("half_close_timeout", l.HalfCloseTimeout, none.HalfCloseTimeout)
}
