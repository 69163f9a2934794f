package agenttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// stopped reports, by its error, a thread of the process that is not stopped.
func stopped(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return err
	}
	for _, name := range threads {
		content, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// The state follows the name, which may hold anything, in parentheses.
		_, rest, _ := strings.Cut(string(content), ") ")
		if !strings.HasPrefix(rest, "T") {
			return fmt.Errorf("%s is in state %.1s", name, rest)
		}
	}
	return nil
}
