package pods

import (
	"errors"
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Log describes the log of a container. The zero Log is a line a second, for ever.
type Log struct {
	// Seed changes the made-up lines.
	Seed int64 `json:"seed,omitempty"`

	// Start is when the first line was written, Interval (1s, if it is 0) how long after a line the next is. Without a
	// Start a log without an end began an hour before the Store was made, and one with an end had just ended.
	Start    *metav1.Time    `json:"start,omitempty"`
	Interval metav1.Duration `json:"interval,omitzero"`

	// Lines is how many lines there are; 0: there is no end while the container runs, and 100 where it does not.
	Lines int64 `json:"lines,omitempty"`

	// Stderr is the share of lines, from 0 to 1, that are of standard error.
	Stderr float64 `json:"stderr,omitempty"`

	// Text has the lines themselves, File is where they are; a file is read when the Store is made. Lines that are all in
	// the format of the CRI (`2016-10-06T00:17:09.669794202Z stdout F text`) carry their own times and streams. At most
	// one of them may be set, and Seed and Lines, which make lines up, may not be set with them.
	Text string `json:"text,omitempty"`
	File string `json:"file,omitempty"`

	// Previous is the log of the container's last run, which ended before this one began. A container with a Previous has
	// been restarted.
	Previous *Log `json:"previous,omitempty"`
}

// endedLines is the length of the log of a container that has ended, where it says none.
const endedLines = 100

// ended is the log of a container that does not run.
func (l Log) ended() Log {
	if l.Text == "" && l.File == "" && l.Lines == 0 {
		l.Lines = endedLines
	}
	return l
}

// since is the log of a container that began then.
func (l Log) since(began time.Time) Log {
	if l.Start == nil {
		l.Start = &metav1.Time{Time: began}
	}
	return l
}

func (l *Log) validate() error {
	switch {
	case l.Interval.Duration < 0:
		return fmt.Errorf("interval: %v: must not be negative; it is the time from a line to the next, 1s if it is left out", l.Interval.Duration)
	case l.Lines < 0:
		return fmt.Errorf("lines: %d: must not be negative; 0 is a log without an end", l.Lines)
	case l.Lines > math.MaxInt64/4/int64(l.interval()):
		return fmt.Errorf("lines: %d: too many for an interval of %v: the log would last longer than a century", l.Lines, l.interval())
	case !(l.Stderr >= 0 && l.Stderr <= 1):
		return fmt.Errorf("stderr: %v: must be from 0 to 1; it is the share of lines that are of standard error", l.Stderr)
	case l.Text != "" && l.File != "":
		return errors.New("text and file: only one of them can be the log")
	case (l.Text != "" || l.File != "") && (l.Lines != 0 || l.Seed != 0):
		return errors.New("lines and seed are for lines that are made up; leave them out beside text or file")
	}
	if l.Previous != nil {
		if l.Previous.Previous != nil {
			return errors.New("previous.previous: a kubelet keeps one previous log")
		}
		if err := l.Previous.validate(); err != nil {
			return fmt.Errorf("previous.%w", err)
		}
	}
	return nil
}

func (l *Log) interval() time.Duration {
	if l.Interval.Duration == 0 {
		return time.Second
	}
	return l.Interval.Duration
}
