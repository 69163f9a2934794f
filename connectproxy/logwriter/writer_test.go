package logwriter

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paper is a destination that can be made to misbehave.
type paper struct {
	mu      sync.Mutex
	text    strings.Builder
	err     error // what each write gives
	most    int   // what a write takes at most; 0 means all
	lines   int   // bytes of lines that may come together
	writes  int
	blocked chan struct{} // a write waits for it if it is not nil
}

var errGone = errors.New("the reader has left")

func (p *paper) write(b []byte, wait time.Duration) (int, error) {
	p.mu.Lock()
	err, most, blocked := p.err, p.most, p.blocked
	p.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	if errors.Is(err, errFull) {
		<-time.After(wait)
	}
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if most > 0 {
		b = b[:min(len(b), most)]
	}
	p.text.Write(b)
	p.writes++
	return len(b), nil
}

func (p *paper) together() int { return p.lines }

func (p *paper) gone(err error) bool { return errors.Is(err, errGone) }

func (p *paper) become(change func(*paper)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *paper) read() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func say(t *testing.T, w *Writer, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write gave %d, %v", n, err)
	}
}

func terse(w *Writer) {
	w.SetNotice(func(n uint64) []byte { return fmt.Appendf(nil, "(%d missing)\n", n) })
}

func TestLinesAreWrittenInOrderAndCloseWaitsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{most: 3}
		w := start(p, Options{})
		var want strings.Builder
		for i := range 100 {
			say(t, w, "line %d\n", i)
			fmt.Fprintf(&want, "line %d\n", i)
		}
		if !w.Close(time.Second) {
			t.Error("not everything was written")
		}
		if p.read() != want.String() || w.Dropped() != 0 {
			t.Errorf("%d dropped, written:\n%s", w.Dropped(), p.read())
		}
	})
}

func TestABufferThatIsUsedAgainDoesNotChangeALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{err: errFull}
		w := start(p, Options{})
		b := []byte("first\n")
		_, _ = w.Write(b)
		copy(b, "other\n")
		p.become(func(p *paper) { p.err = nil })
		w.Close(time.Second)
		if p.read() != "first\n" {
			t.Errorf("written: %q", p.read())
		}
	})
}

func TestWhatDoesNotFitIsDroppedCountedAndSaidWhereItIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{err: errFull}
		w := start(p, Options{Size: 10 * (lineOverhead + 2)})
		terse(w)
		for i := range 100 {
			say(t, w, "%d\n", i%10)
			if w.size > w.o.Size {
				t.Fatalf("%d bytes are queued", w.size)
			}
		}
		if w.Dropped() != 90 {
			t.Errorf("%d dropped", w.Dropped())
		}
		p.become(func(p *paper) { p.err = nil })
		<-time.After(time.Second)
		say(t, w, "a\n")
		synctest.Wait()
		if want := "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n(90 missing)\na\n"; p.read() != want {
			t.Errorf("written: %q, want %q", p.read(), want)
		}
		if !w.Close(time.Second) || w.Dropped() != 90 {
			t.Errorf("%d dropped", w.Dropped())
		}
	})
}

func TestAGapBeforeALineIsSaidBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{err: errFull}
		w := start(p, Options{Size: 4 * (lineOverhead + 2)})
		terse(w)
		for range 6 {
			say(t, w, "a\n")
		}
		p.become(func(p *paper) { p.err, p.most = nil, 1 })
		blocked := make(chan struct{})
		p.become(func(p *paper) { p.blocked = blocked })
		<-time.After(time.Second) // the writer is stuck with the first line
		say(t, w, "b\n")          // there is room for no line before half the queue is written
		close(blocked)
		p.become(func(p *paper) { p.blocked = nil })
		synctest.Wait()
		say(t, w, "c\n")
		w.Close(time.Second)
		if want := "a\na\na\na\n(3 missing)\nc\n"; p.read() != want {
			t.Errorf("written: %q, want %q", p.read(), want)
		}
	})
}

func TestALineLargerThanTheQueueIsDroppedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{}
		w := start(p, Options{Size: 1 << 10})
		terse(w)
		say(t, w, "%s\n", strings.Repeat("x", 2<<10))
		say(t, w, "after\n")
		w.Close(time.Second)
		if want := "(1 missing)\nafter\n"; p.read() != want {
			t.Errorf("written: %q, want %q", p.read(), want)
		}
	})
}

func TestAnErrorIsWaitedOutWithoutLosingWhatFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{err: errors.New("the disk is full")}
		w := start(p, Options{})
		say(t, w, "one\n")
		<-time.After(time.Minute)
		say(t, w, "two\n")
		p.become(func(p *paper) { p.err = nil })
		<-time.After(2 * time.Second)
		if want := "one\ntwo\n"; p.read() != want {
			t.Errorf("written: %q, want %q", p.read(), want)
		}
		w.Close(time.Second)
	})
}

func TestHalfALineIsFinishedUnlessItsReaderIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"a full disk":    {errors.New("the disk is full"), "first\nnext\n"},
		"another reader": {errGone, "finext\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				blocked := make(chan struct{})
				p := &paper{most: 2, blocked: blocked}
				w := start(p, Options{})
				say(t, w, "first\n")
				synctest.Wait()
				p.become(func(p *paper) { p.blocked, p.err = nil, tc.err })
				close(blocked) // the write under way takes two bytes, the next gives the error
				synctest.Wait()
				p.become(func(p *paper) { p.err = nil })
				say(t, w, "next\n")
				<-time.After(2 * time.Second)
				if p.read() != tc.want {
					t.Errorf("written: %q, want %q", p.read(), tc.want)
				}
				w.Close(time.Second)
			})
		})
	}
}

func TestLinesThatComeTogetherAreWrittenTogetherAndNoneIsTorn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{lines: 20}
		w := start(p, Options{Gather: 10 * time.Millisecond})
		defer w.Close(time.Second)
		say(t, w, "alone.\n")
		if synctest.Wait(); p.read() != "alone.\n" {
			t.Errorf("a line at rest is not written at once, but %q", p.read())
		}
		p.become(func(p *paper) { p.text.Reset(); p.writes = 0 })
		for n := range 9 { // of eight bytes: two fit
			say(t, w, "line %d.\n", n)
		}
		if synctest.Wait(); p.read() != "" {
			t.Errorf("written at once: %q", p.read())
		}
		<-time.After(11 * time.Millisecond)
		synctest.Wait()
		var want strings.Builder
		for n := range 9 {
			fmt.Fprintf(&want, "line %d.\n", n)
		}
		if p.read() != want.String() || p.writes != 5 {
			t.Errorf("written in %d writes: %q", p.writes, p.read())
		}
	})
}

func TestLinesThatWaitAreWrittenOnceThereAreManyOrAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{lines: 1 << 10}
		w := start(p, Options{Size: 8 * (lineOverhead + 2), Gather: time.Hour})
		say(t, w, "0\n")
		synctest.Wait()
		for n := range 4 { // half of what fits
			say(t, w, "%d\n", 1+n)
		}
		if synctest.Wait(); p.read() != "0\n1\n2\n3\n4\n" {
			t.Errorf("written: %q", p.read())
		}
		say(t, w, "a\n")
		if synctest.Wait(); strings.Contains(p.read(), "a") {
			t.Errorf("written at once: %q", p.read())
		}
		if began := time.Now(); !w.Close(time.Minute) || time.Since(began) > 0 || !strings.HasSuffix(p.read(), "4\na\n") {
			t.Errorf("written after %s: %q", time.Since(began), p.read())
		}
	})
}

// later is a line that is made when it is written.
type later string

func (l later) AppendLine(to []byte) []byte { return append(to, l...) }

func TestLinesThatAreMadeLaterStandInTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &paper{err: errFull, lines: 5}
		w := start(p, Options{Size: 6 * (lineOverhead + 2)})
		terse(w)
		for n := range 4 {
			say(t, w, "%d\n", 2*n)
			if queued := w.Queue(later(fmt.Sprintln(2*n+1)), 2); queued != (n < 3) {
				t.Errorf("line %d was queued: %t", 2*n+1, queued)
			}
		}
		if w.Dropped() != 2 || w.size > w.o.Size {
			t.Errorf("%d dropped, %d bytes are queued", w.Dropped(), w.size)
		}
		p.become(func(p *paper) { p.err = nil })
		<-time.After(time.Second)
		w.Queue(later("a\n"), 2)
		if !w.Close(time.Second) || w.Queue(later("too late\n"), 9) {
			t.Error("not everything was written, or what came too late was")
		}
		if want := "0\n1\n2\n3\n4\n5\n(2 missing)\na\n"; p.read() != want || w.size != 0 {
			t.Errorf("written: %q, want %q; %d bytes are left", p.read(), want, w.size)
		}
	})
}

func TestOfLinesWrittenTogetherThoseThatAReaderMissedAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		p := &paper{lines: 100}
		w := start(p, Options{Gather: time.Millisecond})
		say(t, w, "first\n")
		synctest.Wait()
		p.become(func(p *paper) { p.most, p.blocked = 2, blocked })
		for range 3 {
			say(t, w, "gone\n")
		}
		<-time.After(2 * time.Millisecond)
		p.become(func(p *paper) { p.blocked, p.err = nil, errGone })
		close(blocked) // the write under way takes two bytes, the next gives the error
		synctest.Wait()
		p.become(func(p *paper) { p.err = nil })
		say(t, w, "next\n")
		w.Close(time.Second)
		if p.read() != "first\ngonext\n" || w.Dropped() != 3 {
			t.Errorf("written %q, %d counted", p.read(), w.Dropped())
		}
	})
}

func TestCloseIsBoundedWhateverTheFileDoes(t *testing.T) {
	for name, p := range map[string]*paper{
		"full":    {err: errFull},
		"broken":  {err: errors.New("broken")},
		"blocked": {blocked: make(chan struct{})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if p.blocked != nil {
					p.blocked = make(chan struct{}) // of the bubble
				}
				w := start(p, Options{})
				for range 10 {
					say(t, w, "line\n")
				}
				began := time.Now()
				if w.Close(time.Second) {
					t.Error("Close says that everything was written")
				}
				if took := time.Since(began); took > time.Second+2*patience {
					t.Errorf("Close took %s", took)
				}
				if n := w.Dropped(); n != 10 {
					t.Errorf("%d lines count as dropped, want those that were queued", n)
				}
				say(t, w, "too late\n")
				if p.blocked != nil {
					close(p.blocked)
				}
				<-w.done
			})
		})
	}
}

func TestASecondCloseCanShortenTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(&paper{err: errFull}, Options{})
		say(t, w, "line\n")
		began := time.Now()
		first := make(chan struct{})
		go func() {
			w.Close(time.Hour)
			close(first)
		}()
		synctest.Wait()
		w.Close(time.Second)
		<-first
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the first Close took %s", took)
		}
	})
}

func TestManyMayWriteAtOnce(t *testing.T) {
	p := &paper{}
	w := start(p, Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				fmt.Fprintf(w, "%d %d\n", i, j)
			}
		})
	}
	wg.Wait()
	w.Close(10 * time.Second)
	lines := strings.Count(p.read(), "\n") - strings.Count(p.read(), "missing")
	if uint64(lines)+w.Dropped() != 4000 {
		t.Errorf("%d lines and %d dropped", lines, w.Dropped())
	}
}
