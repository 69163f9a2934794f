package bogo

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// shimFlag comes first among the arguments that the runner gives the shim.
const shimFlag = "-connect-proxy-path="

func TestMain(m *testing.M) {
	for _, arg := range os.Args[1:] {
		if path, ok := strings.CutPrefix(arg, shimFlag); ok {
			os.Exit(shim(path, os.Args[1:]))
		}
	}
	goleak.VerifyTestMain(m)
}
