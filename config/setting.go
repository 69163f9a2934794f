package config

import (
	"encoding/json"
	"fmt"
	"time"
)

// setting is one key of a block and what becomes of it. Either set or block is
// given.
type setting[T any] struct {
	set func(*T, value) error
	// block has the keys of a nested block, which lead into the same T.
	block keys[T]
	// begin, if given, is called for a block before its keys.
	begin func(*T)
	// tunable is a time or a count: what an agent says of it can be done
	// without.
	tunable bool
	// secret has no text of it shown in a mistake.
	secret bool
}

// keys are a block's settings by their names in snake_case.
type keys[T any] map[string]setting[T]

// inside are the settings of a U that is a part of a T.
func inside[T, U any](at func(*T) *U, table keys[U]) keys[T] {
	all := make(keys[T], len(table))
	for name, s := range table {
		lifted := setting[T]{tunable: s.tunable, secret: s.secret}
		if s.block != nil {
			lifted.block = inside(at, s.block)
		} else {
			lifted.set = func(t *T, v value) error { return s.set(at(t), v) }
		}
		all[name] = lifted
	}
	return all
}

// into is a setting that is read by read and stored at at.
func into[T, V any](at func(*T) *V, read func(value) (V, error)) setting[T] {
	return setting[T]{set: func(t *T, v value) error {
		got, err := read(v)
		if err == nil {
			*at(t) = got
		}
		return err
	}}
}

// The times that make sense. The shortest leave room for a handshake on a slow
// machine, the longest for what means "never" without reaching the end of
// time.Duration.
const (
	shortest   = 10 * time.Millisecond
	longest    = 10 * 365 * 24 * time.Hour
	longDial   = time.Hour
	longAside  = 24 * time.Hour
	localDials = time.Millisecond // the shortest: no network is between
)

// timed is a setting that is a duration of least to most, or 0 for the default.
func timed[T any](at func(*T) *time.Duration, least, most time.Duration) setting[T] {
	return within(at, value.duration, "a bare number counts nanoseconds", least, most)
}

// millis is the same as a number of milliseconds.
func millis[T any](at func(*T) *time.Duration, least, most time.Duration) setting[T] {
	return within(at, value.milliseconds, "the key counts milliseconds", least, most)
}

func within[T any](at func(*T) *time.Duration, read func(value) (time.Duration, error), unit string, least, most time.Duration) setting[T] {
	s := into(at, func(v value) (time.Duration, error) {
		d, err := read(v)
		switch {
		case err != nil || d == 0 || least <= d && d <= most:
			return d, err
		case d < least:
			err = fmt.Errorf("too short: give %s to %s", brief(least), brief(most))
		default:
			err = fmt.Errorf("too long: give %s to %s", brief(least), brief(most))
		}
		if _, bare := v.raw.(json.Number); bare {
			err = fmt.Errorf("%w; %s", err, unit)
		}
		return 0, err
	})
	s.tunable = true
	return s
}

// counted is a setting that counts from 0, which is the default.
func counted[T any](at func(*T) *int) setting[T] {
	s := into(at, func(v value) (int, error) {
		n, err := v.count()
		if err == nil && n < 0 {
			return 0, errNegativeCount
		}
		return n, err
	})
	s.tunable = true
	return s
}

// limited is a count whose 0 means no limit here and "none at all" to Envoy.
func limited[T any](at func(*T) *int) setting[T] {
	s := counted(at)
	set := s.set
	s.set = func(t *T, v value) error {
		if n, err := v.count(); v.agent && err == nil && n == 0 {
			return errNoneAllowed
		}
		return set(t, v)
	}
	return s
}
