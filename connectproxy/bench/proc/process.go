//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the time that a process has spent, in user mode and in the kernel, by
// all its threads, those that have ended included. It comes from the process's
// own clock: the ticks in /proc/PID/stat are 10 ms long.
func CPU(pid int) (time.Duration, error) {
	// The clock of a process is its complemented ID with the kind of clock in
	// the lower three bits; 2 is the scheduler's.
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|2, &ts); err != nil {
		return 0, fmt.Errorf("reading the clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Resident is how many bytes of memory a process holds.
func Resident(pid int) (int64, error) {
	// status is cheaper and can be some hundred kilobytes off.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	return kilobytes(text, "Rss:")
}

// Memory is how many bytes of its memory a process has for itself, and how many
// it shares with others, such as those that run the same program.
func Memory(pid int) (private, shared int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	return memory(text)
}

func memory(rollup []byte) (private, shared int64, err error) {
	for _, part := range []struct {
		key string
		to  *int64
	}{{"Private_Clean:", &private}, {"Private_Dirty:", &private}, {"Shared_Clean:", &shared}, {"Shared_Dirty:", &shared}} {
		n, err := kilobytes(rollup, part.key)
		if err != nil {
			return 0, 0, err
		}
		*part.to += n
	}
	return private, shared, nil
}

// kilobytes finds the line that begins with key in text like that of
// /proc/PID/status and gives its value in bytes.
func kilobytes(text []byte, key string) (int64, error) {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) == 3 && fields[0] == key && fields[2] == "kB" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("there is no line %s", key)
}

// Descriptors is how many files a process has open.
func Descriptors(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, fmt.Errorf("counting the descriptors of process %d: %w", pid, err)
	}
	return len(entries), nil
}

// Group is the processes of a process group that have not ended.
func Group(pgid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var members []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended since
		}
		state, group, err := parseStat(string(text))
		if err == nil && group == pgid && state != 'Z' {
			members = append(members, pid)
		}
	}
	return members, nil
}

// parseStat finds the state and the process group in the text of
// /proc/PID/stat. The program's name, in parentheses, may hold anything, those
// and spaces included.
func parseStat(text string) (state byte, pgid int, err error) {
	_, rest, found := cutLast(text, ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 3 || len(fields[0]) != 1 {
		return 0, 0, fmt.Errorf("%q is not the state of a process", text)
	}
	pgid, err = strconv.Atoi(fields[2])
	return fields[0][0], pgid, err
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
