package upstream

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func entry(id string, checks ...*api.HealthCheck) *api.ServiceEntry {
	return &api.ServiceEntry{
		Node: &api.Node{Node: "n"}, Service: &api.AgentService{ID: id}, Checks: checks,
	}
}

func TestAnInstanceStaysHealthyUntilARestartedAgentHasRunItsChecks(t *testing.T) {
	passing := &api.HealthCheck{Status: api.HealthPassing, Output: "connected"}
	notRun := &api.HealthCheck{Status: api.HealthCritical, Type: "tcp"}
	failed := &api.HealthCheck{Status: api.HealthCritical, Type: "tcp", Output: "connection refused"}
	maintenance := &api.HealthCheck{Status: api.HealthCritical, CheckID: "_service_maintenance:a", Notes: "for the test"}
	nodeMaintenance := &api.HealthCheck{Status: api.HealthCritical, CheckID: "_node_maintenance"}
	reported := &api.HealthCheck{Status: api.HealthCritical, Type: "ttl"}
	start := time.Now()
	for name, tc := range map[string]struct {
		before, after *api.ServiceEntry
		later         time.Duration
		kept          bool
	}{
		"checks have not run":           {entry("a", passing), entry("a", notRun), time.Second, true},
		"nor in all that time":          {entry("a", passing), entry("a", notRun), remember + time.Second, false},
		"one has run, and fails":        {entry("a", passing), entry("a", notRun, failed), time.Second, false},
		"it is in maintenance":          {entry("a", passing), entry("a", maintenance, notRun), time.Second, false},
		"its node is":                   {entry("a", passing), entry("a", nodeMaintenance, notRun), time.Second, false},
		"the application reports so":    {entry("a", passing), entry("a", reported), time.Second, false},
		"another, never seen healthy":   {entry("b", passing), entry("a", notRun), time.Second, false},
		"it was not healthy before":     {entry("a", failed), entry("a", notRun), time.Second, false},
		"it passes again, all the same": {entry("a", passing), entry("a", passing), time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{}
			s.healthy([]*api.ServiceEntry{tc.before}, s.verdict, start)
			got := s.healthy([]*api.ServiceEntry{tc.after}, s.verdict, start.Add(tc.later))
			if kept := slices.Contains(got, tc.after); kept != tc.kept {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}

func TestAnInstanceThatVanishedForAMomentIsRemembered(t *testing.T) {
	passing := &api.HealthCheck{Status: api.HealthPassing}
	notRun := &api.HealthCheck{Status: api.HealthCritical, Type: "tcp"}
	s, start := &service{}, time.Now()
	s.healthy([]*api.ServiceEntry{entry("a", passing), entry("b", passing)}, s.verdict, start)
	if s.healthy(nil, s.verdict, start.Add(time.Second)); !s.seen.misses(nil) || len(s.seen) != 2 {
		t.Fatalf("%v", s.seen)
	}
	if got := s.healthy([]*api.ServiceEntry{entry("a", notRun)}, s.verdict, start.Add(3*time.Second)); len(got) != 1 {
		t.Errorf("kept %v", got)
	}
	if s.healthy(nil, s.verdict, start.Add(time.Hour)); len(s.seen) != 0 || s.seen.misses(nil) {
		t.Errorf("%v is remembered for ever", s.seen)
	}
}
