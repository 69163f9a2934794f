package cli

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"connect-proxy/connectproxy/admin"
)

// profiles is the server of -pprof-addr, nil without the flag. It fails
// if the address cannot be understood.
func profiles(address string, logger hclog.Logger) (*admin.Server, error) {
	if address == "" {
		return nil, nil
	}
	return admin.New(admin.Options{
		Name:        "pprof",
		Address:     address,
		Pages:       admin.Profiles(),
		AllowRemote: true, // as `consul connect proxy` has it
		Logger:      logger,
	})
}

// serve runs s until stop is called, which waits: through the drain as well,
// when profiles may be wanted most. A port that is taken is s's to wait for.
func serve(ctx context.Context, s *admin.Server) (stop func()) {
	if s == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // ctx's error
	}()
	return func() {
		cancel()
		<-done
	}
}
