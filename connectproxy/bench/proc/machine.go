//go:build linux

package proc

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what figures were taken on.
type Machine struct {
	Processor string // as the processor calls itself
	CPUs      int
	Memory    int64 // bytes
	Kernel    string
	Go        string
}

// ThisMachine describes it; what cannot be found out is empty.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: strings.TrimPrefix(runtime.Version(), "go")}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.Processor = processor(text)
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.Memory, _ = kilobytes(text, "MemTotal:")
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return m
}

func processor(cpuinfo []byte) string {
	for line := range bytes.Lines(cpuinfo) {
		key, value, _ := strings.Cut(string(line), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// String is one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d CPUs, %d GB, Linux %s, Go %s",
		m.Processor, m.CPUs, (m.Memory+1<<29)>>30, m.Kernel, m.Go)
}

// LoadAverage is the number of processes that were running or waiting to run
// during the last minute, as text.
func LoadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// EphemeralPorts is the range from which outgoing connections take theirs.
func EphemeralPorts() (first, last int) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Sscan(string(text), &first, &last)
	}
	if err != nil {
		return 32768, 60999
	}
	return first, last
}
