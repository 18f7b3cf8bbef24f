package node

import "time"

// onward is the time of day, but never goes back: where that is set back, as by whoever finds that a machine's clock was wrong,
// it goes on from where it was. A life that has been told of a time is not told of one before, and would wait for the first to
// come again.
type onward struct {
	last   time.Time
	passed time.Duration
}

// read is the time where the time of day is now, and so much time has passed since some moment that is always the same.
func (o *onward) read(now time.Time, passed time.Duration) time.Time {
	if on := o.last.Add(passed - o.passed); now.Before(on) {
		now = on
	}
	o.last, o.passed = now.Round(0), passed
	return now
}
