package identity

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// maxParallel is how many tests run beside each other: those that do wait for agents to
// renew their certificates.
const maxParallel = "6"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", maxParallel); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
