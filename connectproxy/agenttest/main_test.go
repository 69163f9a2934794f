package agenttest_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"connect-proxy/connectproxy/agenttest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	agenttest.RemoveBinary()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
