package systemtest_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"connect-proxy/connectproxy/agenttest"
)

func TestMain(m *testing.M) {
	// All that run in parallel begin at once, and share out places (parallel).
	if err := flag.Set("test.parallel", "1000"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		agenttest.RemoveBinary()
		os.Exit(code)
	}))
}
