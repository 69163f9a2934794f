package listener

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// PipeOptions bound a relayed connection.
type PipeOptions struct {
	IdleTimeout, MaxLifetime, HalfCloseTimeout time.Duration
}

// Counts are the bytes relayed each way.
type Counts struct{ ToUpstream, ToClient int64 }

// Pipe relays until both directions have ended and closes both. It returns
// early when ctx is cancelled, closing both at once.
func Pipe(ctx context.Context, client, upstream net.Conn, _ PipeOptions) (Counts, Reason, error) {
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = upstream.Close()
	})
	defer stop()
	var (
		counts   Counts
		up, down error
		wg       sync.WaitGroup
	)
	wg.Go(func() { counts.ToUpstream, up = oneWay(upstream, client) })
	counts.ToClient, down = oneWay(client, upstream)
	wg.Wait()
	_ = client.Close()
	_ = upstream.Close()
	if up != nil {
		return counts, reasonOf(stageClient, up), up
	}
	return counts, reasonOf(stageUpstream, down), down
}

func oneWay(dst, src net.Conn) (int64, error) {
	n, err := io.Copy(dst, src)
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		return n, half.CloseWrite()
	}
	_ = dst.Close()
	return n, err
}
