package cli

import (
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// notifyTimeout is how long a service manager may leave its socket full.
const notifyTimeout = 100 * time.Millisecond

// serviceManager tells systemd how the proxy is, where it was started by a unit of
// Type=notify: that it is ready, once, why it is not, and that it is alive, for
// the unit's WatchdogSec. tell is for one goroutine at a time.
type serviceManager struct {
	logger hclog.Logger
	ready  bool
	last   string // the state last told
}

// newServiceManager is nil without a service manager that wants to be told.
func newServiceManager(logger hclog.Logger) *serviceManager {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return &serviceManager{logger: logger}
}

// reporter is nil where nobody is to be told.
func (m *serviceManager) reporter() func(ready bool, reasons []string) {
	if m == nil {
		return nil
	}
	return m.notify
}

func (m *serviceManager) notify(ready bool, reasons []string) {
	state := []string{"WATCHDOG=1"}
	if ready && !m.ready {
		m.ready = true
		state = append(state, "READY=1")
	}
	status := "ready"
	if !ready {
		status = strings.Join(reasons, "; ")
	}
	if status != m.last {
		m.last = status
		state = append(state, "STATUS="+strings.ReplaceAll(status, "\n", " "))
	}
	m.send(state...)
}

// stopping is told when the drain begins.
func (m *serviceManager) stopping() {
	if m != nil {
		m.send("STOPPING=1", "STATUS=draining")
	}
}

// send writes one datagram as sd_notify(3) has it. Its libraries wait without a
// limit for a manager that does not read, and whoever calls this must not.
func (m *serviceManager) send(state ...string) {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err == nil {
		defer conn.Close()
		if err = conn.SetWriteDeadline(time.Now().Add(notifyTimeout)); err == nil {
			_, err = conn.Write([]byte(strings.Join(state, "\n")))
		}
	}
	if err != nil {
		m.logger.Debug("the service manager was not told", "error", err)
	}
}
