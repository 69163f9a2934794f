package connectproxy

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"connect-proxy/connectproxy/agenttest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		agenttest.RemoveBinary()
		os.Exit(code)
	}))
}
