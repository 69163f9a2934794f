package relay

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackOnceForACrowdThatHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tide tide
		stop := make(chan struct{})
		drained := 0
		come := func(n int) {
			for range n {
				tide.rise()
			}
		}
		leave := func(n int) {
			for range n {
				if tide.fall() {
					drained++
					go tide.drain(stop)
				}
			}
		}
		come(crowd - 1)
		leave(crowd - 1)
		if drained != 0 {
			t.Fatal("a few connections are a crowd")
		}
		come(4 * crowd)
		leave(2*crowd - 1)
		if drained != 0 {
			t.Fatal("half of a crowd is still there")
		}
		leave(crowd)
		if drained != 1 {
			t.Fatalf("given back %d times", drained)
		}
		synctest.Wait()
		<-time.After(settle)
		synctest.Wait()
		if tide.falling || tide.high != tide.live || tide.live != crowd+1 {
			t.Fatalf("%+v", &tide)
		}
		leave(crowd/2 + 1)
		if drained != 2 {
			t.Fatalf("given back %d times", drained)
		}
		close(stop)
		synctest.Wait()
	})
}
