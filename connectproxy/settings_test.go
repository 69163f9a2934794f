package connectproxy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"connect-proxy/config"
	"connect-proxy/connectproxy/adminapi"
)

func TestSettingsInForceSayWhoMayBeReachedAndHow(t *testing.T) {
	c := config.Config{
		ByName: &config.ByName{},
		Public: &config.Public{Identity: "a", Allow: []string{"cn:web", "cn:shop"}},
		Upstreams: []config.Upstream{{
			Destination:   config.Destination{Type: config.Addresses, Name: "redis", Addresses: "10.0.0.1:1\n10.0.0.2:1", Verify: "cn:redis"},
			Identity:      "a",
			ResetOnChange: config.ResetGone,
		}},
	}.WithDefaults()
	w := settingWriter{from: "configuration file"}
	w.public(c.Public)
	w.upstream(&c.Upstreams[0], &c)
	w.prefix = "dynamic_upstreams."
	w.dialling(c.DynamicUpstreams, c.DynamicUpstreams)
	for _, want := range []adminapi.Setting{
		{Key: "public_listener.identity", Value: "a", Origin: w.from},
		{Key: "public_listener.allow", Value: "cn:web, cn:shop", Origin: w.from},
		{Key: "upstream.redis.destination_addresses", Value: "10.0.0.1:1, 10.0.0.2:1", Origin: w.from},
		{Key: "upstream.redis.identity", Value: "a", Origin: w.from},
		{Key: "upstream.redis.verify", Value: "cn:redis", Origin: w.from},
		{Key: "upstream.redis.reset_on_change", Value: "gone", Origin: w.from},
		{Key: "dynamic_upstreams.balance", Value: defaultBalance, Origin: "default"},
	} {
		if !slices.Contains(w.settings, want) {
			t.Errorf("%+v is not among %+v", want, w.settings)
		}
	}
}

// notShown are what a configuration has that is no setting to be shown.
var notShown = map[string]string{
	"ProxyID":                              "is where the settings come from",
	"Warnings":                             "stand beside the settings",
	"SecurityWarnings":                     "stand beside the settings",
	"ByName.Users.Password":                "is a secret",
	"Public.MicroEvents":                   "follows from Micro.ReceiveEvents",
	"Public.Local.Mode":                    "is about sockets that are listened on",
	"Micro.Server.Address.Mode":            "is about sockets that are listened on",
	"Upstreams.PassiveHealth.Given":        "decides about defaults",
	"DynamicUpstreams.PassiveHealth.Given": "decides about defaults",
	"DynamicUpstreams.Destination":         "is named at run time",
	"DynamicUpstreams.Bind":                "is named at run time",
	"DynamicUpstreams.Identity":            "is Consul's",
}

func TestEverySettingInForceIsShown(t *testing.T) {
	var tcp, socket config.Config
	fill(reflect.ValueOf(&tcp).Elem(), false)
	fill(reflect.ValueOf(&socket).Elem(), true)
	shown := map[string]bool{}
	for _, c := range []*config.Config{&tcp, &socket} {
		before := settingsOf(c, Options{})
		eachField(reflect.ValueOf(c).Elem(), "", func(path string, field reflect.Value) {
			old := reflect.New(field.Type()).Elem()
			old.Set(field)
			alter(field)
			shown[path] = shown[path] || !slices.Equal(before, settingsOf(c, Options{}))
			field.Set(old)
		})
	}
	if len(shown) < 100 {
		t.Errorf("only %d fields were looked at", len(shown))
	}
	for path, is := range shown {
		excused := false
		for other := range notShown {
			excused = excused || path == other || strings.HasPrefix(path, other+".")
		}
		if is == excused {
			t.Errorf("%s: shown %t, and among what is not to be shown: %t", path, is, excused)
		}
	}
}

// fill gives each field of a configuration a value, by which addresses are unix
// sockets or not.
func fill(v reflect.Value, sockets bool) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), sockets)
		}
		if a, ok := v.Addr().Interface().(*config.Address); ok && !sockets {
			a.Path = ""
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), sockets)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), sockets)
	case reflect.Bool: // most are shown where they are set
	default:
		alter(v)
	}
}

// eachField calls visit for each field that is no struct, by its path.
func eachField(v reflect.Value, path string, visit func(path string, field reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			at := path
			if f := v.Type().Field(i); !f.Anonymous {
				at = strings.TrimPrefix(path+"."+f.Name, ".")
			}
			eachField(v.Field(i), at, visit)
		}
	case reflect.Pointer:
		eachField(v.Elem(), path, visit)
	case reflect.Slice:
		eachField(v.Index(0), path, visit)
	default:
		visit(path, v)
	}
}

func alter(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "a")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + int64(time.Second))
	case reflect.Uint16, reflect.Uint32:
		v.SetUint(v.Uint() + 1)
	default:
		panic("a field of a kind that is not known: " + v.Type().String())
	}
}
