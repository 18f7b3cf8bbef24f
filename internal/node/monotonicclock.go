package node

import "time"

// monotonicClock is wall-clock time that never runs backwards. When the system clock is set back, this clock continues
// from its last value. The clock is for [podlife.Life], whose methods require that time does not decrease.
type monotonicClock struct {
	last   time.Time
	passed time.Duration
}

// The method "read" returns the time of the clock. The argument "now" is the time of the system clock. The argument
// "passed" is the time since a fixed moment, measured by a clock that is never set back.
func (c *monotonicClock) read(now time.Time, passed time.Duration) time.Time {
	if next := c.last.Add(passed - c.passed); now.Before(next) {
		now = next
	}
	c.last, c.passed = now.Round(0), passed
	return now
}
