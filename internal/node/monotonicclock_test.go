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
		now, passed, want time.Duration // durations since the start of the clock
	}{
		{"first reading", 0, time.Minute, 0},
		{"time passes", 10 * time.Second, 70 * time.Second, 10 * time.Second},
		{"it jumps ahead", time.Hour, 71 * time.Second, time.Hour},
		{"it is set back, and goes on", 12 * time.Second, 72 * time.Second, time.Hour + time.Second},
		{"and on", 72 * time.Second, 132 * time.Second, time.Hour + 61*time.Second},
		{"until the time of day is later", 2 * time.Hour, 133 * time.Second, 2 * time.Hour},
		{"which it then is", 2*time.Hour + time.Second, 134 * time.Second, 2*time.Hour + time.Second},
	} {
		if got := o.read(start.Add(step.now), step.passed).Sub(start); got != step.want {
			t.Errorf("%s: %v, want %v", step.what, got, step.want)
		}
	}
}
