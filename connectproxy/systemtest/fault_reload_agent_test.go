package systemtest_test

import (
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

func TestAReloadOfTheAgentThatLaunchedThemIsNotNoticed(t *testing.T) {
	agenttest.SkipShort(t)
	parallel(t)
	port := agenttest.FreePorts(t, 3)
	db, web := app(t, "db"), app(t, "web")
	service := func(name string, app, bind int, to string) agenttest.ManagedService {
		return agenttest.ManagedService{
			Name: name, Port: app, Command: command(t), Upstreams: []agenttest.ManagedUpstream{{Name: to, BindPort: bind}},
		}
	}
	a := agenttest.Managed(t, agenttest.Options{HCL: []string{
		service("db", portOf(db), port, "web").Text(), service("web", portOf(web), port+1, "db").Text(),
	}})
	pids := map[string]int{}
	for _, id := range []string{"db-proxy", "web-proxy"} {
		pids[id] = a.ProxyPid(id)
	}
	reaches(t, at(port), "web")
	reaches(t, at(port+1), "db")
	began := time.Now()
	l := startLoad(t, way{at(port), "web"}, way{at(port + 1), "db"})
	l.flows(10)
	for range 8 {
		a.Reload()
		l.flows(5)
	}
	l.unharmed(began)
	changed := service("web", portOf(web), port+1, "db")
	changed.Upstreams = append(changed.Upstreams, agenttest.ManagedUpstream{Name: "web", BindPort: port + 2})
	back := time.Now()
	a.SetConfig("02-test", changed.Text())
	agenttest.Eventually(t, effect, func() error { return open(port + 2) })
	t.Logf("another upstream was there after %s", time.Since(back).Round(time.Millisecond))
	l.stop()
	l.unharmed(began)
	for id, pid := range pids {
		if now := a.ProxyPid(id); now != pid {
			t.Errorf("%s is process %d, it was %d", id, now, pid)
		}
	}
}
