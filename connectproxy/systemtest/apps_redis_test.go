package systemtest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"connect-proxy/connectproxy/agenttest"
)

// runRedis starts a server that keeps nothing on disk, if there is one.
func runRedis(t *testing.T) *tenant {
	path := agenttest.FindProgram("redis-server")
	if path == "" {
		return nil
	}
	port := agenttest.FreePort(t)
	p := agenttest.StartProcess(t, agenttest.ProcessOptions{Path: path, Dir: t.TempDir(), Args: []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no",
	}})
	listens(t, p, port)
	return &tenant{name: "redis", port: port}
}

// redis is a connection that speaks its protocol.
type redis struct {
	*client
	w *bufio.Writer
}

func dialRedis(t *testing.T, m *fabric) *redis {
	t.Helper()
	address, ok := m.address["redis"]
	if !ok {
		t.Skip("redis-server is not installed")
	}
	c := dial(t, address)
	_ = c.SetDeadline(time.Now().Add(exchange))
	return &redis{client: c, w: bufio.NewWriterSize(c, 32<<10)}
}

// command writes one command, which goes out with the next flush.
func (r *redis) command(words ...string) {
	fmt.Fprintf(r.w, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(r.w, "$%d\r\n%s\r\n", len(word), word)
	}
}

// reply reads one answer as text: the elements of a list are joined.
func (r *redis) reply() (string, error) {
	line, err := r.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	kind, rest := line[0], strings.TrimRight(line[1:], "\r\n")
	switch kind {
	case '$':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "", err
		}
		text := make([]byte, n+2)
		_, err = io.ReadFull(r.r, text)
		return string(text[:n]), err
	case '*':
		n, err := strconv.Atoi(rest)
		words := make([]string, 0, 4)
		for range n {
			word, werr := r.reply()
			words, err = append(words, word), werr
		}
		return strings.Join(words, " "), err
	}
	return rest, nil
}

func (r *redis) wantReply(want string) {
	r.t.Helper()
	_ = r.w.Flush()
	if got, err := r.reply(); err != nil || got != want {
		r.t.Fatalf("%.80q, want %.80q: %v", got, want, err)
	}
}

// pipelineRedis sends thousands of commands without waiting for an answer.
func pipelineRedis(t *testing.T, m *fabric) {
	r := dialRedis(t, m)
	key := m.address["redis"]
	const n = 20_000
	written := make(chan error, 1)
	go func() {
		for i := range n {
			r.command("SET", key, strconv.Itoa(i))
			r.command("INCRBY", key, "1000000")
			r.command("GET", key)
		}
		written <- r.w.Flush()
	}()
	for i := range n {
		want := strconv.Itoa(i + 1_000_000)
		for _, want := range []string{"OK", want, want} {
			if got, err := r.reply(); err != nil || got != want {
				t.Fatalf("command %d: %q, want %q: %v", i, got, want, err)
			}
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// largeRedis stores values of up to 16 MiB and reads them back on another
// connection.
func largeRedis(t *testing.T, m *fabric) {
	set, get := dialRedis(t, m), dialRedis(t, m)
	for i, size := range []int64{1, 16 << 10, 16<<20 + 1} {
		var value bytes.Buffer
		sent, _ := pour(&value, size)
		key := fmt.Sprint("large ", i, m.address["redis"])
		set.command("SET", key, value.String())
		set.wantReply("OK")
		get.command("GET", key)
		_ = get.w.Flush()
		text, err := get.reply()
		if err != nil {
			t.Fatal(err)
		}
		got, _ := drink(strings.NewReader(text))
		same(t, "a value", got, sent)
		set.command("DEL", key)
		set.wantReply("1")
	}
}

// subscribeRedis has the server speak by itself, on connections on which the
// client has nothing to say.
func subscribeRedis(t *testing.T, m *fabric) {
	publisher := dialRedis(t, m)
	channel := "news " + m.address["redis"]
	subscribers := []*redis{dialRedis(t, m), dialRedis(t, m), dialRedis(t, m)}
	for _, s := range subscribers {
		s.command("SUBSCRIBE", channel)
		s.wantReply("subscribe " + channel + " 1")
	}
	const n = 2000
	for i := range n {
		publisher.command("PUBLISH", channel, strconv.Itoa(i))
	}
	_ = publisher.w.Flush()
	for range n {
		publisher.wantReply("3")
	}
	for _, s := range subscribers {
		for i := range n {
			s.wantReply("message " + channel + " " + strconv.Itoa(i))
		}
	}
}
