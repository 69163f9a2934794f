//go:build unix

package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/term"
)

// screen is as much of a terminal as the program uses: what has been written
// where, and what was asked for.
type screen struct {
	mu           sync.Mutex
	cells        [40][200]rune
	x, y         int
	alternate    bool // another screen than the shell's is shown
	hiddenCursor bool
	colours      bool
}

func newScreen() *screen { s := &screen{}; s.clear(); return s }

func (s *screen) clear() {
	for y := range s.cells {
		for x := range s.cells[y] {
			s.cells[y][x] = ' '
		}
	}
}

// String is what somebody in front of it would read.
func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, line := range s.cells {
		b.WriteString(strings.TrimRight(string(line[:]), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// left reports that the shell's own screen and cursor are back.
func (s *screen) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.alternate && !s.hiddenCursor
}

func (s *screen) coloured() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.colours
}

// follow draws what a program writes until there is no more.
func (s *screen) follow(r io.Reader) {
	in := bufio.NewReader(r)
	for {
		c, _, err := in.ReadRune()
		if err != nil {
			return
		}
		if c == 0x1b {
			if !s.escape(in) {
				return
			}
			continue
		}
		s.mu.Lock()
		switch {
		case c == '\r':
			s.x = 0
		case c == '\n':
			s.y++
		case c >= ' ' && s.y < len(s.cells) && s.x < len(s.cells[0]):
			s.cells[s.y][s.x] = c
			s.x++
		}
		s.mu.Unlock()
	}
}

// escape obeys one sequence.
func (s *screen) escape(in *bufio.Reader) bool {
	kind, err := in.ReadByte()
	if err != nil {
		return false
	}
	switch kind {
	case '(', ')': // a character set
		_, err = in.ReadByte()
		return err == nil
	case '[':
	default:
		return true
	}
	var parameters []byte
	for {
		c, err := in.ReadByte()
		if err != nil {
			return false
		}
		if c >= '@' && c <= '~' {
			s.control(c, string(parameters))
			return true
		}
		parameters = append(parameters, c)
	}
}

func (s *screen) control(c byte, parameters string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch first, second, _ := strings.Cut(parameters, ";"); c {
	case 'H':
		s.y, s.x = max(parameter(first), 1)-1, max(parameter(second), 1)-1
	case 'J':
		s.clear()
	case 'm':
		s.colours = s.colours || strings.HasPrefix(first, "3")
	case 'h', 'l':
		switch parameters {
		case "?1049":
			s.alternate = c == 'h'
			s.clear()
		case "?25":
			s.hiddenCursor = c == 'l'
		}
	}
}

func parameter(text string) int {
	n, _ := strconv.Atoi(text) // none is 0
	return n
}

// lineSettings are how a terminal treats what is typed.
func lineSettings(t *testing.T, tty *os.File) string {
	t.Helper()
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v", *state)
}
