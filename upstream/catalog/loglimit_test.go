package catalog

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/agenttest"
)

func TestManyDestinationsAreAFewLinesInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 100
		var log agenttest.Log
		a, client := newAgent(t)
		c := setup{Client: client, Logger: hclog.New(&hclog.LoggerOptions{Output: &log})}.catalog(t)
		for i := range all {
			name := fmt.Sprintf("u%d", i)
			a.answer("/v1/health/connect/"+name, reply{body: "[]", index: 10})
			r := c.Chain(ChainOptions{Name: name})
			t.Cleanup(r.Close)
		}
		after(3 * time.Minute)
		if n := log.Count("[WARN]  no healthy instance: upstream="); n != logBurst {
			t.Errorf("%d destinations are named one by one:\n%s", n, log.String())
		}
		if n := log.Count("[WARN]  no healthy instance: more=80 for_example="); n != 1 {
			t.Errorf("the others are told %d times:\n%s", n, log.String())
		}
		for i := range all {
			a.answer(fmt.Sprintf("/v1/health/connect/u%d", i), reply{status: 500, body: "No cluster leader"})
		}
		before := log.Count("\n")
		after(5 * time.Minute)
		if n := log.Count("\n") - before; n < logBurst || n > 6*(logBurst+1) {
			t.Errorf("%d lines in five minutes while all questions fail", n)
		}
	})
}
