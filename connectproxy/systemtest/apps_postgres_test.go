package systemtest_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

// database is a PostgreSQL cluster of the test's own.
type database struct {
	missing string // the program without which there is none
	dir     string // of the socket
	port    int
}

// runPostgres makes and starts a cluster, as an ordinary user: the server
// refuses to run as root.
func runPostgres(t *testing.T) *database {
	create, serve, setpriv := agenttest.FindProgram("initdb"), agenttest.FindProgram("postgres"), agenttest.FindProgram("setpriv")
	switch {
	case create == "":
		return &database{missing: "initdb"}
	case serve == "":
		return &database{missing: "postgres"}
	case setpriv == "" && os.Geteuid() == 0:
		return &database{missing: "setpriv"}
	}
	dir, err := os.MkdirTemp("", "postgres-test-") //nolint:usetesting // the parents of t.TempDir may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := asOther(t, setpriv, dir)
	// No test waits for a disk.
	data := filepath.Join(dir, "data")
	initdb := append(slices.Clone(as), create, "-D", data, "-U", "test", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	cmd := exec.CommandContext(t.Context(), initdb[0], initdb[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("making a cluster: %v\n%s", err, out)
	}
	port := agenttest.FreePort(t)
	server := append(as, serve, "-D", data, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir, "-c", "fsync=off", "-c", "shared_buffers=32MB")
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{Path: server[0], Args: server[1:], Dir: dir})
	p.WaitOutput(exchange, "ready to accept connections")
	return &database{dir: dir, port: port}
}

// asOther gives root's directory to somebody else, and the command that becomes that
// user: PostgreSQL refuses to be run by root.
func asOther(t *testing.T, setpriv, dir string) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	name := "postgres"
	if _, err := user.Lookup(name); err != nil {
		name = "nobody"
	}
	if out, err := exec.CommandContext(t.Context(), "chown", name, dir).CombinedOutput(); err != nil {
		t.Fatalf("there is nobody to run PostgreSQL as: %v: %s", err, out)
	}
	return []string{setpriv, "--reuid=" + name, "--clear-groups", "--pdeathsig=KILL"}
}

func (d *database) app() *tenant {
	if d.missing != "" {
		return nil
	}
	return &tenant{name: "postgres", port: d.port, socket: filepath.Join(d.dir, fmt.Sprintf(".s.PGSQL.%d", d.port))}
}

// runClient runs one of PostgreSQL's clients through the mesh.
func (d *database) runClient(t *testing.T, m *fabric, in io.Reader, program string, args ...string) []byte {
	t.Helper()
	if d.missing != "" {
		t.Skip(d.missing + " is not installed")
	}
	path := agenttest.Program(t, program)
	args = append([]string{"-h", m.host, "-p", strconv.Itoa(m.port), "-U", "test"}, args...)
	cmd := exec.CommandContext(t.Context(), path, args...)
	var out, trouble bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &trouble
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=30", "PGDATABASE=postgres")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, trouble.String())
	}
	return out.Bytes()
}

func (d *database) sql(t *testing.T, m *fabric, in io.Reader, statement string) []byte {
	t.Helper()
	return d.runClient(t, m, in, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement)
}

// copies has a table of random text go in and come out again.
func (d *database) copies(t *testing.T, m *fabric) {
	rows, table := 150_000, "copied"+strconv.Itoa(m.port)
	if slow() {
		rows /= 3
	}
	var text bytes.Buffer
	random, word := bufio.NewReader(stream(m.port)), make([]byte, 30)
	for i := range rows {
		_, _ = io.ReadFull(random, word)
		fmt.Fprintf(&text, "%d\t%s\n", i, hex.EncodeToString(word))
	}
	sent := text.String()
	d.sql(t, m, nil, "CREATE TABLE "+table+" (n bigint PRIMARY KEY, word text)")
	d.sql(t, m, &text, "COPY "+table+" FROM STDIN")
	if got := strings.TrimSpace(string(d.sql(t, m, nil, "SELECT count(*) FROM "+table))); got != strconv.Itoa(rows) {
		t.Errorf("%s rows arrived of %d", got, rows)
	}
	back := d.sql(t, m, nil, "COPY (SELECT * FROM "+table+" ORDER BY n) TO STDOUT")
	got, _ := drink(bytes.NewReader(back))
	want, _ := drink(strings.NewReader(sent))
	same(t, "the table", got, want)
	d.sql(t, m, nil, "DROP TABLE "+table)
}

// bench makes many short transactions on several connections at once.
func (d *database) bench(t *testing.T, m *fabric) {
	name := "bench" + strconv.Itoa(m.port)
	d.sql(t, m, nil, "CREATE DATABASE "+name)
	d.runClient(t, m, nil, "pgbench", "-i", "-q", name)
	out := string(d.runClient(t, m, nil, "pgbench", "-c", "6", "-j", "2", "-t", "150", name))
	if !strings.Contains(out, "number of transactions actually processed: 900/900") {
		t.Errorf("not all transactions were processed:\n%s", out)
	}
	// A connection for each transaction.
	out = string(d.runClient(t, m, nil, "pgbench", "-C", "-S", "-c", "2", "-t", "20", name))
	if !strings.Contains(out, "number of transactions actually processed: 40/40") {
		t.Errorf("not all transactions were processed:\n%s", out)
	}
}
