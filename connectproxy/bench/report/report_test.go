package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAPercentileIsOneOfTheTimes(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tt := range []struct {
		name   string
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{"the median of a hundred", hundred, 50, 50},
		{"the 99th of a hundred", hundred, 99, 99},
		{"more than the 99th", hundred, 99.5, 100},
		{"all", hundred, 100, 100},
		{"none", hundred, 0, 1},
		{"the 99th of a few is the last", hundred[:7], 99, 7},
		{"the median of three", []time.Duration{2, 9, 40}, 50, 9},
		{"of nothing", nil, 99, 0},
	} {
		if got := Percentile(tt.sorted, tt.p); got != tt.want {
			t.Errorf("%s: %d", tt.name, got)
		}
	}
}

var (
	speed = Metric{Key: "speed", Work: "bulk", Unit: "Gbit/s", More: true, Target: Target{Factor: 1}}
	cost  = Metric{Key: "cost", Work: "bulk", Unit: "s/GB", Target: Target{Factor: 0.85}}
)

// measured is of three peers, one of them a reference that is better than any.
func measured() *Figures {
	f := New("ours", []Peer{{Name: "ours", Version: "1"}, {Name: "old", Version: "2"}, {Name: "slow"}, {Name: "bare", Reference: true}})
	for peer, values := range map[string][]float64{"ours": {8, 9, 7}, "old": {4, 5}, "slow": {1}, "bare": {99}} {
		for round, v := range values {
			f.Add("speed", peer, round, v)
		}
	}
	for peer, v := range map[string]float64{"ours": 1.2, "old": 1.5, "slow": 1.4, "bare": 0.1} {
		f.Add("cost", peer, 0, v)
	}
	return f
}

func TestRoundsAreSummedUp(t *testing.T) {
	f := measured()
	if s, ok := f.Summary("speed", "ours"); !ok || s != (Summary{Median: 8, Least: 7, Most: 9}) {
		t.Errorf("%+v, %v", s, ok)
	}
	if s, ok := f.Summary("speed", "old"); !ok || s != (Summary{Median: 4.5, Least: 4, Most: 5}) {
		t.Errorf("%+v, %v", s, ok)
	}
	if s, ok := f.Summary("speed", "nobody"); ok {
		t.Errorf("%+v", s)
	}
	if got := f.Values["speed"]["ours"]; got[0] != (Sample{0, 8}) {
		t.Errorf("the order of the rounds is lost: %v", got)
	}
}

func TestTheBestIsNeitherOursNorAReference(t *testing.T) {
	f := measured()
	if name, v, ok := f.Best(speed); name != "old" || v != 4.5 || !ok {
		t.Errorf("%s, %v, %v", name, v, ok)
	}
	if name, v, ok := f.Best(cost); name != "slow" || v != 1.4 || !ok {
		t.Errorf("%s, %v, %v", name, v, ok)
	}
	if name, _, ok := f.Best(Metric{Key: "nothing"}); ok {
		t.Error(name)
	}
}

func TestAVerdictFollowsItsTarget(t *testing.T) {
	f := measured()
	f.Add("even", "ours", 0, 3)
	f.Add("even", "old", 0, 3)
	for _, tt := range []struct {
		name           string
		metric         Metric
		reached, known bool
		text           string
	}{
		{"above every peer", speed, true, true, "above every peer's"},
		{"a ratio that is not reached", cost, false, true, "≤ 0.85 × the best peer's"},
		{"below every peer", Metric{Key: "cost", Target: Target{Factor: 1}}, true, true, "below every peer's"},
		{"equal is not above", Metric{Key: "even", More: true, Target: Target{Factor: 1}}, false, true, "above every peer's"},
		{"a ratio to one peer", Metric{Key: "speed", More: true, Target: Target{Factor: 3, Peer: "slow"}}, true, true, "≥ 3 × slow's"},
		{"the same to another", Metric{Key: "speed", More: true, Target: Target{Factor: 3, Peer: "old"}}, false, true, "≥ 3 × old's"},
		{"to one that is not there", Metric{Key: "speed", More: true, Target: Target{Factor: 3, Peer: "gone"}}, false, false, "≥ 3 × gone's"},
		{"a limit", Metric{Key: "cost", Target: Target{Limited: true, Limit: 1.2}}, true, true, "≤ 1.2"},
		{"a limit of zero", Metric{Key: "cost", Target: Target{Limited: true}}, false, true, "≤ 0"},
		{"no target", Metric{Key: "cost"}, false, false, ""},
		{"no figures", Metric{Key: "nothing", Target: Target{Factor: 1}}, false, false, "below every peer's"},
	} {
		reached, known := f.Verdict(tt.metric)
		if reached != tt.reached || known != tt.known || tt.metric.Target.Text(tt.metric) != tt.text {
			t.Errorf("%s: reached %v, known %v, %q", tt.name, reached, known, tt.metric.Target.Text(tt.metric))
		}
	}
}

func TestTheTablesSayWhatWasFound(t *testing.T) {
	f := measured()
	const targets = `| work | ours | best peer | ratio to it | to reach | reached |
|---|--:|--:|--:|---|---|
| bulk, Gbit/s | 8 | 4.50 (old) | ×1.78 | above every peer's | yes |
| bulk, s/GB | 1.20 | 1.40 (slow) | ×0.86 | ≤ 0.85 × the best peer's | **no** |
`
	if got := f.Targets([]Metric{speed, cost, {Key: "speed", Work: "no target"}}); got != targets {
		t.Errorf("%s", got)
	}
	const all = `| work | ours | old | slow | bare |
|---|--:|--:|--:|--:|
| bulk, Gbit/s | 8 (7…9) | 4.50 (4…5) ×0.56 | 1 ×0.12 | 99 ×12.38 |
| bulk, s/GB | 1.20 | 1.50 ×1.25 | 1.40 ×1.17 | 0.10 ×0.08 |
`
	if got := f.All([]Metric{speed, cost, {Key: "nothing"}}); got != all {
		t.Errorf("%s", got)
	}
}

func TestNumbersHaveThreeDigitsThatMatter(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 3: "3", 0.00042: "4.2e-04", 0.0123: "0.0123", 1.2345: "1.23", 12.345: "12.3",
		123.45: "123", 1234.5: "1,234", 1234567: "1,234,567", -1234.6: "-1,235", 1000: "1,000",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, not %q", v, got, want)
		}
	}
}

func TestOnlyTheGeneratedPartIsRewritten(t *testing.T) {
	const document = "# Title\n\nbefore\n" + begin + "\n\nold\n" + end + "\n\nafter\n"
	got, err := Rewrite(document, "new\n")
	if want := "# Title\n\nbefore\n" + begin + "\n\nnew\n\n" + end + "\n\nafter\n"; err != nil || got != want {
		t.Errorf("%v: %q", err, got)
	}
	again, err := Rewrite(got, "new\n")
	if err != nil || again != got {
		t.Errorf("%v: %q", err, again)
	}
	for _, bad := range []string{"", begin + "\n", end, end + begin + "\n"} {
		if got, err := Rewrite(bad, "new"); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestTheSectionNamesMachinePeersAndPlots(t *testing.T) {
	f := measured()
	f.Note("speed", "slow: failed once")
	f.Note("speed", "slow: failed once")
	got := f.Section([]Metric{speed}, []string{"machine: some"}, map[string]string{"b.svg": "B", "a.svg": "A"})
	last := -1
	for _, want := range []string{"- machine: some\n", "- ours: 1\n", "- note on `speed`: slow: failed once\n", "| work | ours | best", "(7…9)", "![A](a.svg)", "![B](b.svg)"} {
		at := strings.Index(got, want)
		if at <= last {
			t.Errorf("%q is at %d, after %d", want, at, last)
		}
		last = at
	}
}

func TestScalesPutValuesWhereTheyBelong(t *testing.T) {
	c := Chart{Lines: []Line{{Points: []Point{{1, 0.7}, {9968, 4.3}}}, {}}}
	x, y := c.scales()
	if x.low != 1 || x.high != 10_000 || len(x.ticks) != 5 || x.at(1) != left || x.at(10_000) != left+plotWidth || x.at(100) != left+plotWidth/2.0 {
		t.Errorf("%+v", x)
	}
	if y.low != 0 || y.high != 5 || y.ticks[1] != 1 || y.at(0) != top+plotHeight || y.at(5) != top {
		t.Errorf("%+v", y)
	}
	c.LogY = true
	if _, y := c.scales(); y.low != 0.1 || y.high != 10 || math.Round(y.at(1)) != top+plotHeight/2.0 {
		t.Errorf("%+v", y)
	}
	for v, want := range map[float64]string{0.1: "0.1", 0: "0", 2.5: "2.5", 1: "1", 10: "10", 1000: "1,000", 200: "200"} {
		if got := tick(v); got != want {
			t.Errorf("%v is %q, not %q", v, got, want)
		}
	}
}

func TestAChartIsWellFormedForBothGrounds(t *testing.T) {
	c := Chart{Title: "A < B & C", X: "connections", Y: "ms", LogY: true, Lines: []Line{
		{Name: "ours", Strong: true, Points: []Point{{1, 2}, {10, 30}}},
		{Name: "missing"},
		{Name: "bare <Go>", Dashed: true, Points: []Point{{1, 3}}},
	}}
	svg := c.SVG()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]int{
		"prefers-color-scheme: dark": 1, "<polyline": 2, "A &lt; B &amp; C</text>": 1, "bare &lt;Go&gt;</text>": 1,
		"missing": 0, "connections</text>": 1, "ms</text>": 1, " strong\"": 2, " dashed\"": 2, "NaN": 0, "Inf": 0,
	} {
		if n := strings.Count(svg, text); n != want {
			t.Errorf("%q is there %d times, not %d", text, n, want)
		}
	}
	if empty := (Chart{}).SVG(); strings.Contains(empty, "NaN") || !strings.HasSuffix(empty, "</svg>\n") {
		t.Errorf("%s", empty)
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	f := New("ours", []Peer{{Name: "ours"}, {Name: "old", Variant: true}})
	// The machine grows slower and slower; ours is always a tenth better.
	for round, v := range []float64{100, 200, 400, 800, 1600, 3200} {
		f.Add("cost", "ours", round, v*0.9)
		f.Add("cost", "old", round, v)
	}
	f.Add("cost", "ours", 6, 1) // the other one failed in this round
	r, ok := f.Ratio("cost", "old")
	if !ok || r.Rounds != 6 || !r.Sure || math.Abs(r.Low-0.9) > 1e-9 || math.Abs(r.High-0.9) > 1e-9 {
		t.Errorf("%+v, %v", r, ok)
	}
	if _, ok := f.Ratio("nothing", "old"); ok {
		t.Error("there is a ratio of nothing")
	}
	const table = `
| work | ours | old | ours to old | spread | ours is |
|---|--:|--:|--:|--:|---|
| bulk, s/GB | 360 | 600 | ×0.900 | 0.900…0.900 | better |
`
	if got := f.Compared([]Metric{cost, speed}); got != table {
		t.Errorf("%s", got)
	}
	if _, _, ok := f.Best(cost); ok {
		t.Error("a variant of ours counts as a peer")
	}
}

func TestASpreadEnclosesTheTrueRatioAsOftenAsItSays(t *testing.T) {
	for n, want := range map[int]int{1: 0, 5: 0, 6: 1, 8: 1, 9: 2, 12: 3, 20: 6, 100: 40} {
		if got := outside(n); got != want {
			t.Errorf("of %d values the ranks %d from either end, not %d", n, got, want)
		}
	}
}

func TestAVerdictOnAVariantTakesMoreThanChance(t *testing.T) {
	for _, tt := range []struct {
		ratio Ratio
		more  bool
		want  string
	}{
		{Ratio{Low: 0.9, High: 0.99, Sure: true}, false, "better"},
		{Ratio{Low: 0.9, High: 0.99, Sure: true}, true, "**worse**"},
		{Ratio{Low: 1.01, High: 1.2, Sure: true}, false, "**worse**"},
		{Ratio{Low: 1.01, High: 1.2, Sure: true}, true, "better"},
		{Ratio{Low: 0.99, High: 1.2, Sure: true}, true, "no difference shown"},
		{Ratio{Low: 1.1, High: 1.2}, true, "too few rounds"},
	} {
		if got := tt.ratio.verdict(Metric{More: tt.more}); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestFiguresOfSeveralRunsBecomeOne(t *testing.T) {
	earlier := New("ours", []Peer{{Name: "ours", Version: "1"}, {Name: "old"}})
	earlier.Add("new.rate", "ours", 0, 1)
	earlier.Add("rtt.p50", "ours", 0, 2)
	earlier.Note("new", "an old note")
	earlier.Note("rtt", "a note that stays")
	f := New("ours", []Peer{{Name: "ours", Version: "2"}})
	f.Add("new.rate", "ours", 0, 3)
	f.Merge(earlier, func(row string) bool { return row == "new" })
	for key, want := range map[string]float64{"new.rate": 3, "rtt.p50": 2} {
		if s, ok := f.Summary(key, "ours"); !ok || s != (Summary{want, want, want}) {
			t.Errorf("%s: %+v, %v", key, s, ok)
		}
	}
	if len(f.Notes) != 1 || f.Notes[0].Row != "rtt" {
		t.Errorf("%+v", f.Notes)
	}
	f.Keep(func(row string) bool { return row == "new" })
	if _, ok := f.Summary("rtt.p50", "ours"); ok || len(f.Notes) != 0 || len(f.Values) != 1 {
		t.Errorf("%+v", f)
	}
	if len(f.Peers) != 2 || f.Peers[0].Version != "2" || f.Peers[1].Name != "old" {
		t.Errorf("%+v", f.Peers)
	}
}

func TestAGridHasALineForEachWorkAndPeer(t *testing.T) {
	f := measured()
	f.Peers = append(f.Peers, Peer{Name: "variant", Variant: true})
	metrics := []Metric{
		{Key: "speed", Work: "one", Unit: "Gbit/s", Grid: true}, {Key: "cost", Work: "one", Unit: "s", Grid: true},
		{Key: "cost", Work: "two", Unit: "s", Grid: true}, {Key: "nothing", Work: "three", Unit: "m", Grid: true},
	}
	f.Add("speed", "variant", 0, 3)
	const grid = `| work | program | Gbit/s | s |
|---|---|--:|--:|
| one | ours | 8 | 1.20 |
| one | old | 4.50 | 1.50 |
| one | slow | 1 | 1.40 |
| one | bare | 99 | 0.10 |
| two | ours | – | 1.20 |
| two | old | – | 1.50 |
| two | slow | – | 1.40 |
| two | bare | – | 0.10 |
`
	if got := f.Grid(metrics); got != grid {
		t.Errorf("%s", got)
	}
	if got := f.All(metrics); strings.Contains(got, "one") {
		t.Errorf("%s", got)
	}
	if got := f.Grid([]Metric{speed}); got != "" {
		t.Errorf("%s", got)
	}
}
