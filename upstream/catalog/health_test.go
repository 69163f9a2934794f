package catalog

import (
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
		"the agent was away for long":   {entry("a", passing), entry("a", notRun), time.Hour, true},
		"one has run, and fails":        {entry("a", passing), entry("a", notRun, failed), time.Second, false},
		"it is in maintenance":          {entry("a", passing), entry("a", maintenance, notRun), time.Second, false},
		"its node is":                   {entry("a", passing), entry("a", nodeMaintenance, notRun), time.Second, false},
		"the application reports so":    {entry("a", passing), entry("a", reported), time.Second, false},
		"another, never seen healthy":   {entry("b", passing), entry("a", notRun), time.Second, false},
		"it was not healthy before":     {entry("a", failed), entry("a", notRun), time.Second, false},
		"it passes again, all the same": {entry("a", passing), entry("a", passing), time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &serviceResolver{}
			s.keepHealthy(listedOf(tc.before), false, start)
			got := s.keepHealthy(listedOf(tc.after), false, start.Add(tc.later))
			if kept := len(got) > 0; kept != tc.kept {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}

// listedOf is what a service reads of entries.
func listedOf(entries ...*api.ServiceEntry) (all []*listed) {
	s := &serviceResolver{from: answerScope{remote: func(string) bool { return false }}}
	for _, e := range entries {
		l := s.read(e)
		all = append(all, &l)
	}
	return all
}

func TestAnInstanceWhoseChecksDoNotRunIsGivenUpAfterAWhile(t *testing.T) {
	passing := &api.HealthCheck{Status: api.HealthPassing}
	notRun := &api.HealthCheck{Status: api.HealthCritical, Type: "tcp"}
	s, start := &serviceResolver{}, time.Now()
	s.keepHealthy(listedOf(entry("a", passing)), false, start)
	back := start.Add(time.Minute) // the agent was away
	for at := time.Duration(0); at <= remember+time.Second; at += time.Second {
		got := s.keepHealthy(listedOf(entry("a", notRun)), false, back.Add(at))
		if kept := len(got) > 0; kept != (at <= remember) {
			t.Fatalf("%s after the agent is back: kept %t", at, kept)
		}
	}
	if len(s.healthy) != 0 {
		t.Errorf("%v is remembered for ever", s.healthy)
	}
}

func TestAnAnswerIsNotSteadyWhileAnInstanceIsKeptForATime(t *testing.T) {
	passing := &api.HealthCheck{Status: api.HealthPassing}
	notRun := &api.HealthCheck{Status: api.HealthCritical, Type: "tcp"}
	s, start := &serviceResolver{}, time.Now()
	if s.keepHealthy(listedOf(entry("a", passing), entry("b", passing)), false, start); !s.steady {
		t.Error("two that are healthy are not steady")
	}
	// An agent may list one twice.
	if s.keepHealthy(listedOf(entry("a", passing), entry("a", passing), entry("b", notRun)), false, start.Add(time.Second)); s.steady {
		t.Error("steady with one that is kept for a time")
	}
	if s.keepHealthy(listedOf(entry("a", passing), entry("b", notRun)), false, start.Add(time.Minute)); !s.steady {
		t.Error("not steady once it is given up")
	}
}

func TestAnInstanceThatVanishedForAMomentIsRemembered(t *testing.T) {
	passing := &api.HealthCheck{Status: api.HealthPassing}
	notRun := &api.HealthCheck{Status: api.HealthCritical, Type: "tcp"}
	s, start := &serviceResolver{}, time.Now()
	s.keepHealthy(listedOf(entry("a", passing), entry("b", passing)), false, start)
	if s.keepHealthy(nil, false, start.Add(time.Second)); !s.healthy.lostAny(nil) || len(s.healthy) != 2 {
		t.Fatalf("%v", s.healthy)
	}
	if got := s.keepHealthy(listedOf(entry("a", notRun)), false, start.Add(3*time.Second)); len(got) != 1 {
		t.Errorf("kept %v", got)
	}
	if s.keepHealthy(nil, false, start.Add(3*time.Second+remember+time.Second)); len(s.healthy) != 0 || s.healthy.lostAny(nil) {
		t.Errorf("%v is remembered for ever", s.healthy)
	}
}
