package dynamic

import (
	"testing"

	"connect-proxy/listener/listenertest"
)

func TestMain(m *testing.M) { listenertest.Leaks(m) }
