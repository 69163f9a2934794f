package agenttest

// LaunchedFrom is the processes that carry the mark of a data directory.
func LaunchedFrom(dataDir string) []int {
	return launched(dataDir, markName+"="+dataDir)
}
