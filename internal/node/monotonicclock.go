package node

import "time"

// monotonicClock is wall-clock time that never runs backwards. When the system clock is set back, this clock continues
// from its last value. Package podlife requires such a clock: times that are passed to a pod's life must not decrease.
type monotonicClock struct {
	last   time.Time
	passed time.Duration
}

// The method "read" returns the time of the clock. The argument "passed" is the monotonic time since a fixed moment.
func (c *monotonicClock) read(now time.Time, passed time.Duration) time.Time {
	if next := c.last.Add(passed - c.passed); now.Before(next) {
		now = next
	}
	c.last, c.passed = now.Round(0), passed
	return now
}
