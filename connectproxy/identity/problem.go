package identity

import (
	"errors"
	"fmt"

	"connect-proxy/upstream/watch"
)

// Problem returns in one line why no connection can be made or accepted; empty if
// nothing is wrong.
func (i *Identity) Problem() string {
	if err := i.problem(); err != nil {
		return err.Error()
	}
	return ""
}

func (i *Identity) problem() error {
	_, err := i.usable()
	return err
}

var errNotReady = errors.New("no certificates yet")

// usable returns the generation in force, with an error if its leaf cannot be
// shown to anyone; nil where there is none yet.
func (i *Identity) usable() (*generation, error) {
	g := i.current.Load()
	if g == nil {
		return nil, i.missing()
	}
	now := i.o.Now()
	err := g.window.check(now)
	if why := i.leaf.Status().Err; err != nil && now.After(g.window.until) && why != nil && !isClockError(why) {
		err = fmt.Errorf("%w: %w", err, why)
	}
	return g, err
}

func (i *Identity) missing() error {
	if err := i.authority.Load(); err != nil {
		return fmt.Errorf("%w: %w", errNotReady, *err)
	}
	for _, s := range []watch.Status{i.leaf.Status(), i.roots.Status()} {
		if !s.Has && s.Err != nil {
			return fmt.Errorf("%w: %s: %w", errNotReady, s.Name, s.Err)
		}
	}
	return errNotReady
}
