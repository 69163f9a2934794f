package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strconv"
	"time"

	"connect-proxy/connectproxy/adminapi"
	"connect-proxy/upstream/backoff"
)

const connectionsHelp = `Usage: connect-proxy connections [-watch] [-o json] [-admin-addr ADDRESS]
       connect-proxy connections close ID [-admin-addr ADDRESS]

  Lists the open connections of a running proxy, or cuts one. With -watch it
  writes a line for each that opens or ends, until it is interrupted. Those that
  live for less than a second may be missing, and those that are refused are: they
  are in the log and in /events.

  Exit code 0: done. 1: no proxy is found, or the connection has ended. 2: wrong
  usage.`

// watchPause is the time between two looks of -watch.
const watchPause = time.Second

func runConnections(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "close" {
		return runCloseConnection(ctx, args[1:], stdout, stderr)
	}
	watch := false
	in, rest, code := inspect(ctx, "connections", args, stdout, stderr, func(fs *flag.FlagSet) {
		fs.BoolVar(&watch, "watch", false, "Follow opens and ends.")
	})
	if in == nil {
		return code
	}
	if len(rest) > 0 {
		return usage(stderr, "connections: "+rest[0]+" is neither a flag nor close")
	}
	if watch {
		return in.watchConnections()
	}
	var c adminapi.Connections
	if err := in.client.get(ctx, "/connections", &c); err != nil {
		return in.fail(err)
	}
	if in.json() {
		return printJSON(stdout, c)
	}
	rows := make([][]string, len(c.Connections))
	for i := range c.Connections {
		rows[i] = connectionRow(&c.Connections[i])
	}
	printTable(stdout, connectionHeadings, rows)
	return exitDrained
}

var connectionHeadings = []string{"ID", "DIRECTION", "FROM", "TO", "CLIENT", "INSTANCE", "PHASE", "TO DESTINATION", "TO SOURCE", "AGE"}

func connectionRow(c *adminapi.Connection) []string {
	return []string{
		strconv.FormatUint(c.ID, 10), c.Direction, orElse(c.Source, "-"), c.Destination, c.Client,
		orElse(orElse(c.Instance, c.InstanceAddress), "-"), c.Phase,
		byteCount(c.ToDestinationBytes), byteCount(c.ToSourceBytes), lasting(c.AgeSeconds),
	}
}

// watchConnections tells of what has come and gone between two looks.
func (in *inspection) watchConnections() int {
	known := map[uint64]adminapi.Connection{}
	for {
		var c adminapi.Connections
		if err := in.client.get(in.ctx, "/connections", &c); err != nil {
			if in.ctx.Err() != nil {
				return exitDrained
			}
			return in.fail(err)
		}
		now := make(map[uint64]adminapi.Connection, len(c.Connections))
		for i := len(c.Connections) - 1; i >= 0; i-- {
			x := c.Connections[i]
			if x.Phase != "relay" {
				continue // whose it is, and whether it may pass, is not known
			}
			now[x.ID] = x
			if _, ok := known[x.ID]; !ok && in.printChange("open", x) != nil {
				return exitFailed // nobody reads it
			}
			delete(known, x.ID)
		}
		for _, x := range known {
			if in.printChange("end", x) != nil {
				return exitFailed
			}
		}
		known = now
		if !backoff.Sleep(in.ctx, watchPause) {
			return exitDrained
		}
	}
}

func (in *inspection) printChange(what string, c adminapi.Connection) error {
	if in.json() {
		return json.NewEncoder(in.stdout).Encode(struct {
			Event string `json:"event"`
			adminapi.Connection
		}{what, c})
	}
	bytes := ""
	if what == "end" {
		bytes = fmt.Sprintf(", at least %s there and %s back", byteCount(c.ToDestinationBytes), byteCount(c.ToSourceBytes))
	}
	_, err := fmt.Fprintf(in.stdout, "%s %-4s %d %s\n", time.Now().Format(time.TimeOnly), what, c.ID,
		printable(fmt.Sprintf("%s to %s, client %s, by %s%s", orElse(c.Source, "-"), c.Destination, c.Client, orElse(orElse(c.Instance, c.InstanceAddress), "-"), bytes)))
	return err
}

func runCloseConnection(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		return usage(stderr, "connections close: give the connection's ID")
	}
	id, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return usage(stderr, "connections close: "+args[0]+": give a connection's ID, which is a number")
	}
	in, rest, code := inspect(ctx, "connections close", args[1:], stdout, stderr, nil)
	if in == nil {
		return code
	}
	if len(rest) > 0 {
		return usage(stderr, "connections close: one at a time")
	}
	var answer map[string]uint64
	if err := in.client.do(ctx, "POST", fmt.Sprintf("/connections/close?id=%d", id), &answer); err != nil {
		return in.fail(err)
	}
	if in.json() {
		return printJSON(stdout, answer)
	}
	fmt.Fprintf(stdout, "connection %d was cut\n", id)
	return exitDrained
}
