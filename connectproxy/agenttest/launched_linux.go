package agenttest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// launched finds the living processes with the mark in their environment. A
// dead one that nobody has waited for has none.
func launched(_, mark string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !slices.Contains(strings.Split(string(text), "\x00"), mark) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
