package config

import (
	"cmp"
	"errors"
	"strconv"
	"time"
)

// PassiveHealth is Consul's passive_health_check, as far as it is about
// connections: when failures set an instance aside, and for how long.
type PassiveHealth struct {
	// Given says that there is a passive_health_check: a time that it leaves out
	// is then the one that Consul documents.
	Given bool
	// MaxFailures in a row set an instance aside; zero means DefaultMaxFailures.
	MaxFailures int
	// BaseEjectionTime is the first time that an instance is set aside for; it
	// doubles with each further failure, up to MaxEjectionTime. Zero means
	// DefaultBaseEjectionTime, or ConsulBaseEjectionTime if Given.
	BaseEjectionTime time.Duration
	// MaxEjectionPercent bounds the share of the instances that are set aside at
	// a time, though one always may be; zero means no bound.
	MaxEjectionPercent int
	// Disabled leaves every instance in use, whatever fails.
	Disabled bool
}

const (
	// DefaultMaxFailures is one, since a failed dial is an answer in itself: a
	// second client would only wait as long as the first did.
	DefaultMaxFailures = 1
	// DefaultBaseEjectionTime is short, since an instance that is back is found by
	// one attempt.
	DefaultBaseEjectionTime = time.Second
	// ConsulBaseEjectionTime is the default of Consul and Envoy.
	ConsulBaseEjectionTime = 30 * time.Second
	// MaxEjectionTime is Envoy's max_ejection_time. Where there is no
	// passive_health_check the longest time is a minute.
	MaxEjectionTime = 300 * time.Second
)

var errPercent = errors.New("not a percentage: give 0 to 100")

// passiveHealthKeys are Consul's. Its interval is that of Envoy's sweeps, by
// which instances come back: here each comes back when its time is over, so
// that there is nothing to sweep and the setting is only judged.
var passiveHealthKeys = func() keys[Upstream] {
	given := keys[Upstream]{
		"interval":           timed(func(*Upstream) *time.Duration { return new(time.Duration) }, shortest, longAside),
		"max_failures":       counted(func(u *Upstream) *int { return &u.PassiveHealth.MaxFailures }),
		"base_ejection_time": timed(func(u *Upstream) *time.Duration { return &u.PassiveHealth.BaseEjectionTime }, shortest, longAside),
		"max_ejection_percent": {tunable: true, set: func(u *Upstream, v value) error {
			n, err := v.percent()
			if err == nil {
				u.PassiveHealth.MaxEjectionPercent = max(n, 1)
			}
			return err
		}},
		"enforcing_consecutive_5xx": {tunable: true, set: func(u *Upstream, v value) error {
			n, err := v.percent()
			u.PassiveHealth.Disabled = err == nil && n == 0
			return err
		}},
	}
	for name, s := range given {
		set := s.set
		s.set = func(u *Upstream, v value) error {
			err := set(u, v)
			u.PassiveHealth.Given = u.PassiveHealth.Given || err == nil && !v.zero()
			return err
		}
		given[name] = s
	}
	return given
}()

// LongestEjection is the longest time that an instance is set aside for; zero
// leaves it to the upstream.
func (p PassiveHealth) LongestEjection() time.Duration {
	if p.Given {
		return MaxEjectionTime
	}
	return 0
}

// zero reports whether a time or a count is 0, which says nothing.
func (v value) zero() bool {
	d, err := v.duration()
	n, errCount := v.count()
	return err == nil && d == 0 || errCount == nil && n == 0
}

func (v value) percent() (int, error) {
	n, err := v.count()
	if err == nil && (n < 0 || n > 100) {
		return 0, errPercent
	}
	return n, err
}

func (p PassiveHealth) withDefaults() PassiveHealth {
	p.MaxFailures = cmp.Or(p.MaxFailures, DefaultMaxFailures)
	if p.Given {
		p.BaseEjectionTime = cmp.Or(p.BaseEjectionTime, ConsulBaseEjectionTime)
	}
	p.BaseEjectionTime = cmp.Or(p.BaseEjectionTime, DefaultBaseEjectionTime)
	return p
}

func (v *checks) passiveHealth(field string, p PassiveHealth) {
	v.count(field+"max_failures", p.MaxFailures)
	v.notNegative(field+"base_ejection_time", p.BaseEjectionTime)
	if p.MaxEjectionPercent < 0 || p.MaxEjectionPercent > 100 {
		v.addMistake(field+"max_ejection_percent", strconv.Itoa(p.MaxEjectionPercent), errPercent.Error())
	}
}
