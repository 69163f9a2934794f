// Package dev is `connect-proxy dev`: a whole mesh on one machine, with nothing
// to install and nothing kept. It runs an agent within the process
// (connectproxy/devagent), two example services, and a proxy for each as a child
// process, as a Consul agent up to 1.5 runs managed ones: with
// CONNECT_PROXY_ID and CONNECT_PROXY_TOKEN, started again when they end, and
// stopped by SIGINT, five seconds and SIGKILL. Then it prints what to try, each
// line to be pasted into a shell. It is for trying, testing and teaching.
//
// Run owns the agent, both services and both children, each on a goroutine of
// its own, and waits for all of them. Children end with this process even if it
// is killed: on Linux the kernel sees to that, on other Unix systems a shell
// that waits for the end of a pipe. On Windows they stay.
package dev
