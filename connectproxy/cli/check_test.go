package cli

import (
	"bytes"
	"strings"
	"testing"

	"connect-proxy/connectproxy/adminapi"
)

// After an outage intentions count as unwatched for some minutes, and a token
// that is told to be short of a permission then sends people the wrong way.
func TestCheckBlamesTheTokenOnlyWhereTheAgentDid(t *testing.T) {
	const outage = "dial tcp 127.0.0.1:8500: connect: connection refused"
	const denied = `the token needs intentions:read on "web": the agent answered 403`
	for name, c := range map[string]struct {
		intentions adminapi.Intentions
		want       string
	}{
		"the agent is away":      {adminapi.Intentions{Blind: true, WatchProblem: outage}, outage},
		"the agent is back":      {adminapi.Intentions{Blind: true}, "every few seconds"},
		"the agent cannot judge": {adminapi.Intentions{Problem: outage}, outage},
		"the token may not read": {adminapi.Intentions{Blind: true, WatchProblem: denied}, denied},
	} {
		t.Run(name, func(t *testing.T) {
			c.intentions.Public = true
			var out bytes.Buffer
			v := view{Proxy: adminapi.Proxy{Service: "web", Agent: adminapi.Agent{Address: "127.0.0.1:8500"}}, Intentions: c.intentions}
			f := v.findings()
			f.print(&out)
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("%q is not said:\n%s", c.want, out.String())
			}
			if blamed := strings.Contains(out.String(), "token needs"); blamed != strings.Contains(c.want, "token needs") {
				t.Errorf("the token is blamed: %t\n%s", blamed, out.String())
			}
		})
	}
}

func TestStatusAndCheckShowWhatTheMeshAllowsOfTLS(t *testing.T) {
	for name, c := range map[string]struct {
		mesh  adminapi.MeshTLS
		want  string
		grade grade
	}{
		"bounds": {adminapi.MeshTLS{Known: true, Incoming: "at least TLS 1.3"}, "entry: incoming at least TLS 1.3", good},
		"none":   {adminapi.MeshTLS{Known: true}, "says nothing of TLS", ""},
		"what cannot be done": {adminapi.MeshTLS{Known: true, Outgoing: "at most TLS 1.1", Problems: []string{"outgoing: TLS 1.1 and older are not spoken"}},
			"Not to be done: outgoing: TLS 1.1", notice},
		"not known": {adminapi.MeshTLS{Error: "connection refused"}, "own settings hold: connection refused", notice},
	} {
		v := view{Certificates: adminapi.Certificates{Mesh: &c.mesh}}
		var out bytes.Buffer
		v.printCertificates(&out)
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: status says %s", name, &out)
		}
		var f findings
		v.checkMesh(&f)
		if said := len(f) == 1 && f[0].Grade == c.grade && strings.Contains(f[0].Text, c.want); said != (c.grade != "") {
			t.Errorf("%s: check says %+v", name, f)
		}
	}
}

func TestWithoutAnAgentCheckSpeaksOfNoneOfItsThings(t *testing.T) {
	v := view{
		Intentions: adminapi.Intentions{Public: true, ByList: true},
		Upstreams: []adminapi.Upstream{
			{Destination: "redis", Address: "127.0.0.1:6379", Problem: "the DNS does not answer"},
			{Destination: "db", Address: "127.0.0.1:5432", Known: true, Instances: make([]adminapi.Instance, 1)},
		},
	}
	var out bytes.Buffer
	v.findings().print(&out) //nolint:forbidigo // a method
	for said, want := range map[string]bool{
		"judged by the list": true, "intentions": false, "connect-proxy explain": false, "5432: 1 instance\n": true,
	} {
		if strings.Contains(out.String(), said) != want {
			t.Errorf("%q is said: %t\n%s", said, !want, &out)
		}
	}
}

// An agent that is there for upstreams has no say about callers that a list judges.
func TestIntentionsAreSpokenOfWhereTheyJudgeCallersOnly(t *testing.T) {
	for byList, want := range map[bool]string{true: "judged by the list", false: "watched, 0 decisions"} {
		v := view{Proxy: adminapi.Proxy{Agent: adminapi.Agent{Address: "127.0.0.1:8500"}}, Intentions: adminapi.Intentions{Public: true, ByList: byList}}
		var checked, status bytes.Buffer
		v.findings().print(&checked) //nolint:forbidigo // a method
		if !strings.Contains(checked.String(), want) || strings.Contains(checked.String(), "ntentions") == byList {
			t.Errorf("by a list %t: check says\n%s", byList, &checked)
		}
		v.summary(&status)
		if strings.Contains(status.String(), "\nIntentions\n") == byList || strings.Contains(status.String(), "\nCallers\n") != byList {
			t.Errorf("by a list %t: status says\n%s", byList, &status)
		}
	}
}
