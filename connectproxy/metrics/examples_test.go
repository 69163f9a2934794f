package metrics

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

const examples = "../../examples/grafana/"

func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(examples + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// boardQueries are all of the board's.
func boardQueries(t *testing.T) []string {
	t.Helper()
	var board struct {
		Templating struct {
			List []struct{ Query any }
		}
		Panels []struct {
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(example(t, "dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("a panel of type %s asks nothing", p.Type)
		}
	}
	if len(all) < 15 {
		t.Errorf("%d queries", len(all))
	}
	for _, v := range board.Templating.List {
		all = append(all, fmt.Sprint(v.Query))
	}
	return all
}

func TestTheBoardAndTheAlertsAskForWhatThereIs(t *testing.T) {
	labels := map[string][]string{}
	for name, f := range gathered(t, counted(NamesBoth)) {
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				labels[name] = append(labels[name], l.GetName())
			}
		}
		labels[name] = append(labels[name], "instance", "job", "le")
	}
	queries := append(boardQueries(t), example(t, "alerts.yml"), example(t, "alerts_test.yml"))
	metric := regexp.MustCompile(`\b((?:connect_proxy|process|go|envoy)_\w+)(?:\{([^}]*)\})?`)
	asked := 0
	for _, q := range queries {
		for _, m := range metric.FindAllStringSubmatch(q, -1) {
			name := m[1]
			if base, ok := strings.CutSuffix(name, "_bucket"); ok {
				name = base
			}
			has, ok := labels[name]
			if !ok {
				t.Errorf("nothing is called %s:\n%s", m[1], q)
				continue
			}
			asked++
			for _, l := range regexp.MustCompile(`(\w+)(?:=~|!=|!~|=)`).FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(has, l[1]) {
					t.Errorf("%s has no label %s", name, l[1])
				}
			}
		}
	}
	if asked < 40 {
		t.Errorf("%d metrics were looked for", asked)
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	path := agenttest.Program(t, "promtool")
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestTheAlertsAreRaisedWhenTheyShouldBe(t *testing.T) {
	promtool(t, "check", "rules", examples+"alerts.yml")
	promtool(t, "test", "rules", examples+"alerts_test.yml")
}

func TestTheBoardsQueriesArePrometheuss(t *testing.T) {
	rules := "groups:\n- name: board\n  rules:\n"
	for i, q := range boardQueries(t) {
		if strings.HasPrefix(q, "map[") || q == "prometheus" {
			continue // a variable's
		}
		q = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(q)
		rules += fmt.Sprintf("  - {record: board:q%d, expr: '%s'}\n", i, strings.ReplaceAll(q, "'", "''"))
	}
	file := filepath.Join(t.TempDir(), "board.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}
