// Package loglimit limits the rate of log lines of one kind: lines that clients can
// cause by asking for what they may not have, and lines about many things that happen
// at the same moment.
package loglimit
