package node

import (
	"testing"
	"time"
)

func TestMonotonicClock(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var o monotonicClock
	for _, step := range []struct {
		what              string
		now, passed, want time.Duration // all times are durations since the start of the clock
	}{
		{what: "first reading", passed: time.Minute},
		{what: "time passes", now: 10 * time.Second, passed: 70 * time.Second, want: 10 * time.Second},
		{what: "it jumps ahead", now: time.Hour, passed: 71 * time.Second, want: time.Hour},
		{what: "it is set back, and goes on", now: 12 * time.Second, passed: 72 * time.Second,
			want: time.Hour + time.Second},
		{what: "and on", now: 72 * time.Second, passed: 132 * time.Second, want: time.Hour + 61*time.Second},
		{what: "until the time of day is later", now: 2 * time.Hour, passed: 133 * time.Second, want: 2 * time.Hour},
		{what: "which it then is", now: 2*time.Hour + time.Second, passed: 134 * time.Second,
			want: 2*time.Hour + time.Second},
	} {
		if got := o.read(start.Add(step.now), step.passed).Sub(start); got != step.want {
			t.Errorf("%s: %v, want %v", step.what, got, step.want)
		}
	}
}
