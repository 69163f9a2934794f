package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// logLine is one line that a proxy logged with -log-json.
type logLine map[string]any

func (l logLine) text(key string) string {
	v, ok := l[key]
	if !ok {
		return ""
	}
	return fmt.Sprint(v)
}

// show gives the message and some of what goes with it, a line each.
func (l logLine) show(keys ...string) string {
	s := l.text("@message")
	for _, k := range keys {
		if v := l.text(k); v != "" {
			s += fmt.Sprintf("\n  %-6s %s", k, v)
		}
	}
	return s
}

// logFile is where the agent keeps what a proxy logs.
func (m *mesh) logFile(proxyID string) string {
	return filepath.Join(m.dir, proxyID+"-stderr.log")
}

// logged is the newest line of a proxy that match takes.
func (m *mesh) logged(proxyID string, match func(logLine) bool) (logLine, error) {
	content, err := os.ReadFile(m.logFile(proxyID))
	if err != nil {
		return nil, fmt.Errorf("reading the log of %s: %w", proxyID, err)
	}
	lines := bytes.Split(content, []byte("\n"))
	for _, text := range slices.Backward(lines) {
		var l logLine
		if json.Unmarshal(text, &l) == nil && match(l) {
			return l, nil
		}
	}
	return nil, errors.New(proxyID + " has not logged it")
}

func (m *mesh) showIdentities(ctx context.Context) error {
	m.out.begin("Who each side proved to be, as the proxies logged it")
	for _, side := range []struct{ proxy, sees, service string }{
		{"web-proxy", "dialled", "api"},
		{"api-proxy", "was called by", "web"},
	} {
		is := "/svc/" + side.service
		err := until(ctx, 10*time.Second, func() error {
			l, err := m.logged(side.proxy, func(l logLine) bool { return strings.HasSuffix(l.text("peer"), is) })
			if err == nil {
				m.out.printf("%s %-13s %s", side.proxy, side.sees, l.text("peer"))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
