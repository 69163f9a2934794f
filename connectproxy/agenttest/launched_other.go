//go:build !linux

package agenttest

import (
	"os"
	"path/filepath"
	"syscall"
)

// launched is the processes that the agent wrote down, as far as a signal finds
// them alive.
func launched(dataDir, _ string) []int {
	var pids []int
	for _, pid := range pidsOnFile(dataDir) {
		p, err := os.FindProcess(pid)
		if err == nil && p.Signal(syscall.Signal(0)) == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// pidsOnFile is the process IDs in the agent's pid files.
func pidsOnFile(dataDir string) []int {
	files, _ := filepath.Glob(filepath.Join(dataDir, "proxy", "pids", "*.pid"))
	var pids []int
	for _, file := range files {
		if pid, err := readPid(file); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
