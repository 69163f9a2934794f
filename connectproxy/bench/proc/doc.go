// Package proc reads what Linux knows of processes and of the machine: time
// spent, memory held, descriptors, members of a process group. Elsewhere it is
// empty, and so is the benchmark.
//
// It starts no goroutine.
package proc
