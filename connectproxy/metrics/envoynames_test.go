package metrics

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// recordedNames are what a real Envoy gave, by systemtest's
// TestARealEnvoyGivesTheNamesThatAreRecorded.
func recordedNames(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/envoy-names.txt")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
}

func tagged() *Metrics {
	m := counted(NamesBoth)
	m.o.Settings = func() Settings { return Settings{Tags: []Tag{{"colour", "blue"}}} }
	return m
}

func TestEnvoysNamesLabelsAndTypesAreThoseOfARealOne(t *testing.T) {
	recorded := recordedNames(t)
	compared := 0
	for name, f := range gathered(t, tagged()) {
		if !strings.HasPrefix(name, "envoy_") {
			continue
		}
		for _, s := range f.GetMetric() {
			var labels []string
			for _, l := range s.GetLabel() {
				labels = append(labels, l.GetName())
			}
			slices.Sort(labels)
			line := "prometheus " + strings.ToLower(f.GetType().String()) + " " + name + " " + strings.Join(labels, ",")
			if !slices.Contains(recorded, line) {
				t.Errorf("no Envoy gives %s", line)
			}
			compared++
		}
	}
	if compared < 30 {
		t.Errorf("%d series were compared", compared)
	}
}

func TestTheNamesThatAreSentAreThoseOfARealEnvoy(t *testing.T) {
	// What an Envoy sends depends on what has changed: scopes and tags are
	// compared, the stats in them are above.
	plain, tags := map[string]bool{}, map[string]bool{}
	for _, line := range recordedNames(t) {
		f := strings.Fields(line)
		dot := strings.LastIndex(f[2], ".")
		if dot < 0 {
			continue // a page's
		}
		scope := f[2][:dot]
		switch f[0] {
		case "statsd":
			plain[scope] = true
		case "dogstatsd":
			tags[scope+" "+f[3]] = true
		}
	}
	samples := tagged().Envoy()
	for _, s := range samples {
		if strings.HasPrefix(s.Name, "rbac.") {
			continue // nobody was denied or allowed
		}
		full := strings.NewReplacer(strings.TrimSuffix(td, ".consul"), "TRUSTDOMAIN", "127.0.0.1_8443", "ADDRESS").Replace("envoy." + s.Full)
		if scope := full[:strings.LastIndex(full, ".")]; !plain[scope] {
			t.Errorf("no Envoy sends anything of %s", scope)
		}
		var names []string
		for _, tag := range s.Tags {
			names = append(names, tag.Name)
		}
		slices.Sort(names)
		name := "envoy." + s.Name
		if line := name[:strings.LastIndex(name, ".")] + " " + strings.Join(names, ","); !tags[line] {
			t.Errorf("no Envoy sends %s", line)
		}
	}
	if len(samples) < 30 {
		t.Errorf("%d samples", len(samples))
	}
}
