package listener

import (
	"fmt"
	"time"
)

// introduce sends Options.Preamble to the far side, which nothing was sent to
// before. Less than all of it must not be followed by anything: the far side
// would take the client's bytes for ours.
func (c *conn) introduce(deadline time.Time) *connError {
	if c.o.Preamble == nil {
		return nil
	}
	p, err := c.o.Preamble(c.open())
	if err != nil {
		return &connError{ReasonDialFailed, fmt.Errorf("cannot tell the application who calls: %w", err)}
	}
	to := c.target.Conn
	if err := to.SetWriteDeadline(deadline); err != nil {
		return failedAt(stageUpstream, err)
	}
	if _, err := to.Write(p); err != nil {
		if isTimeout(err) && !isLost(err) {
			return &connError{ReasonDialTimeout, err}
		}
		return failedAt(stageUpstream, err)
	}
	if err := to.SetWriteDeadline(time.Time{}); err != nil {
		return failedAt(stageUpstream, err)
	}
	return nil
}
