package identity

import (
	"strings"
	"sync"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
	"connect-proxy/listener/listenertest"
)

// Agents of either version take up to half a minute to renew their leafs after
// a rotation.
func TestOnARealAgentTwoRotationsOfTheRootRefuseNobody(t *testing.T) {
	agenttest.SkipShort(t)
	t.Parallel()
	agenttest.Both(t, agenttest.Options{}, func(t *testing.T, agent *agenttest.Agent) {
		t.Parallel()
		ids := []*Identity{
			ready(t, running(t, Options{Client: agent.Client, Service: "web"})),
			ready(t, running(t, Options{Client: agent.Client, Service: "api"})),
		}
		there := []*server{
			serve(t, "web", ids[0].Handshake(ServerTLS{})), serve(t, "api", ids[1].Handshake(ServerTLS{})),
		}
		stop := make(chan struct{})
		var traffic sync.WaitGroup
		connections := 0
		traffic.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				for n, s := range there {
					if _, err := visit(t, ids[1-n], s); err != nil {
						t.Errorf("refused: %v", err)
						return
					}
					<-s.sessions
					connections++
				}
			}
		})
		for n := range 2 {
			before := []string{ids[0].Status().LeafSerial, ids[1].Status().LeafSerial}
			agent.RotateRoot()
			for k, i := range ids {
				listenertest.Within(t, 30*time.Second+patience, "the new root is in force", func() bool {
					s := i.Status()
					return s.LeafSerial != before[k] && len(s.Roots) == n+2
				})
			}
		}
		close(stop)
		traffic.Wait()
		t.Logf("%d connections over two rotations", connections)
	})
}

func TestOnARealAgentAMissingPermissionIsNamed(t *testing.T) {
	agenttest.SkipShort(t)
	agenttest.Both(t, agenttest.Options{ACL: true}, func(t *testing.T, agent *agenttest.Agent) {
		nobody := agent.PutToken(`service "other" { policy = "write" }`)
		i := running(t, Options{Client: agent.ClientWithToken(nobody), Service: "web"})
		listenertest.Eventually(t, "the permission is named", func() bool {
			return strings.Contains(i.Problem(), `service:write on "web"`)
		})
	})
}
