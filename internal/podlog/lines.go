package podlog

import (
	"bytes"
	"time"
)

// lines is the content of a log: numbered lines, each with a time and a stream. It is safe for concurrent use.
type lines interface {
	// written returns how many lines had been written by a time.
	written(now time.Time) int64
	// time returns when line i is written. If i is the number of lines, it returns when a further line would be
	// written.
	time(i int64) time.Time
	// end returns the number of lines, or false if the log has no end.
	end() (int64, bool)
	// from returns the number of a line at which a reader of the lines since a time may begin: all lines before it
	// were written earlier.
	from(since time.Time) int64
	stderr(i int64) bool
	// appendLine appends the text of line i, including its line feed, to b.
	appendLine(b []byte, i int64) []byte
}

// schedule determines the time of each line: line i is written at start + i × interval.
type schedule struct {
	start    time.Time
	interval time.Duration
	// lines is the number of lines; 0 means that there is no end.
	lines int64
	seed  uint64
	// stderrBelow is the share of lines that go to standard error, in units of 1/2^32.
	stderrBelow uint64
}

func (s *schedule) time(i int64) time.Time { return s.start.Add(time.Duration(i) * s.interval) }

func (s *schedule) end() (int64, bool) { return s.lines, s.lines > 0 }

func (s *schedule) written(now time.Time) int64 {
	if now.Before(s.start) {
		return 0
	}
	n := int64(now.Sub(s.start)/s.interval) + 1
	if s.lines > 0 && n > s.lines {
		n = s.lines
	}
	return n
}

func (s *schedule) from(since time.Time) int64 {
	if !since.After(s.start) {
		return 0
	}
	return int64((since.Sub(s.start) + s.interval - 1) / s.interval)
}

func (s *schedule) stderr(i int64) bool {
	return s.stderrBelow > 0 && s.random(i)>>32 <= s.stderrBelow
}

// random returns 64 pseudorandom bits for line i. (splitmix64)
func (s *schedule) random(i int64) uint64 {
	z := s.seed + uint64(i)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// textLines are the lines of a text.
type textLines struct {
	schedule
	text [][]byte
}

func (t *textLines) appendLine(b []byte, i int64) []byte { return append(b, t.text[i]...) }

// end implements lines. Unlike schedule.end, it reports that a log with 0 lines has an end.
func (t *textLines) end() (int64, bool) { return int64(len(t.text)), true }

func (t *textLines) written(now time.Time) int64 {
	if len(t.text) == 0 {
		return 0
	}
	return t.schedule.written(now)
}

// splitLines cuts a text after each line feed. It adds a line feed to the last line if there is none.
func splitLines(data []byte) [][]byte {
	if len(data) == 0 {
		return nil
	}
	if data[len(data)-1] != '\n' {
		data = append(data[:len(data):len(data)], '\n')
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	return lines[:len(lines)-1]
}
