// Package podlog makes the logs of containers that do not run.
//
// The lines of a generated log are computed when they are read, and never stored. Line i depends only on the number i,
// on the log's seed, and on the names of the container, its pod and its namespace. It is written at start + i ×
// interval. So a log of a billion lines takes no memory, options such as tailLines are fast, and each run of the
// program generates the same lines. The lines of a log may also come from a text or a file.
//
// Begin with [New] and [Log.Read].
package podlog

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"time"

	"fauxlet/scenario"
)

// Age is the apparent age of a new generated log if its description has neither a start nor a number of lines.
const Age = time.Hour

// Log is the log of one run of a container. It is safe for concurrent use, except that two calls of End and Complete
// must not be concurrent. The methods End, Complete and Ended accept a nil Log.
type Log struct {
	lines   lines
	began   time.Time
	endless bool          // the lines are generated, and the description does not limit their number
	ended   chan struct{} // closed when the run has ended
	// The following fields are set before the channel "ended" is closed. From endedAt on, the log has finalLines lines.
	// The first dueLines of them were due at or before endedAt; the others were written at endedAt.
	endedAt              time.Time
	dueLines, finalLines int64
}

// New makes a log from its description. Logs of containers with different names have different lines. If the
// description has no start but limits the number of lines, the last line is written one interval before the time in the
// argument "made". If the description names a file without its content, New reads the file. An error means that the
// file cannot be read.
func New(l scenario.Log, container string, made time.Time) (*Log, error) {
	data := []byte(l.Text)
	switch {
	case l.File != "" && l.FileContent != nil:
		data = []byte(*l.FileContent)
	case l.File != "":
		var err error
		if data, err = os.ReadFile(l.File); err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
	}
	if cri := parseCRI(data); cri.lines != nil {
		return &Log{lines: cri, began: cri.lines[0].at, ended: make(chan struct{})}, nil
	}

	generated := l.Text == "" && l.File == ""
	text := splitLines(data)
	g := generatedLines{interval: cmp.Or(l.Interval.Duration, scenario.DefaultLogInterval)}
	g.count = cmp.Or(l.Lines, g.maxLines())
	if !generated {
		g.count = int64(len(text))
	}
	switch {
	case l.Start != nil:
		g.start = l.Start.Time
	case generated && l.Lines == 0:
		g.start = made.Add(-Age)
	default:
		g.start = made.Add(-g.after(g.count))
	}
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%d/%s", l.Seed, container)
	g.seed = hash.Sum64()
	g.stderrBelow = uint64(l.Stderr * math.MaxUint32)
	log := &Log{lines: &g, began: g.start, endless: generated && l.Lines == 0, ended: make(chan struct{})}
	if !generated {
		log.lines = g.withText(text)
	}
	return log, nil
}

// Empty makes a log without lines, of a run that began at a time.
func Empty(began time.Time) *Log {
	return &Log{lines: storedLines{}, began: began, ended: make(chan struct{})}
}

// Began returns the time of the first line.
func (l *Log) Began() time.Time { return l.began }

// End ends the run: the log gets no lines after this time, and readers that follow the log return. Only the first call
// of End or Complete has an effect.
func (l *Log) End(at time.Time) {
	if l != nil {
		l.end(at, l.lines.written(at))
	}
}

// Complete is like End, for a container that has ended by itself: at its end it writes all lines that were due later.
// If the number of lines is unlimited, the log has only the lines that were due before the end, but a run without any
// length has as many lines as a log that [Finished] completes.
func (l *Log) Complete(at time.Time) {
	if l == nil {
		return
	}
	lines := l.lines.written(at)
	switch {
	case lines == 0: // the first line is due after the end
	case !l.endless:
		lines = l.lines.total()
	case !at.After(l.began):
		lines = finishedLines
	}
	l.end(at, lines)
}

func (l *Log) end(at time.Time, lines int64) {
	if l.HasEnded() {
		return
	}
	l.endedAt, l.dueLines, l.finalLines = at, l.lines.written(at), lines
	close(l.ended)
}

// Ended returns a channel that is closed when the run has ended. It is nil for a nil Log.
func (l *Log) Ended() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.ended
}

// HasEnded reports whether [Log.End] has been called.
func (l *Log) HasEnded() bool {
	select {
	case <-l.Ended():
		return true
	default:
		return false
	}
}

// The method "written" returns the number of lines in the log at a time.
func (l *Log) written(now time.Time) int64 {
	if l.HasEnded() && !now.Before(l.endedAt) {
		return l.finalLines
	}
	return l.lines.written(now)
}

// time returns when line i is written.
func (l *Log) time(i int64) time.Time {
	if l.HasEnded() && i >= l.dueLines && i < l.finalLines {
		return l.endedAt
	}
	return l.lines.time(i)
}

// finishedLines is the number of lines of the log of a container that has ended, if its description has no number.
const finishedLines = 100

// Finished completes the description of the log of a container that has ended. A log without an end gets 100 lines.
func Finished(l scenario.Log) scenario.Log {
	if l.Text == "" && l.File == "" && l.Lines == 0 {
		l.Lines = finishedLines
	}
	return l
}
