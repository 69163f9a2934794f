package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// shownReasons bounds the length of a skipLogger's line.
const shownReasons = 4

// skipLogger logs why a resolver had to leave instances out, once for each
// change of that.
type skipLogger struct {
	logger  hclog.Logger
	service string
	logged  []string
}

func (l *skipLogger) log(reasons []string) {
	if slices.Equal(reasons, l.logged) {
		return
	}
	l.logged = reasons
	if more := len(reasons) - shownReasons; more > 0 {
		reasons = append(slices.Clone(reasons[:shownReasons]), fmt.Sprintf("and %d more reasons", more))
	}
	if len(reasons) > 0 {
		l.logger.Warn("leaving out instances", "service", l.service, "reason", strings.Join(reasons, ", "))
	}
}
