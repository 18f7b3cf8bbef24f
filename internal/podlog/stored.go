package podlog

import (
	"bytes"
	"slices"
	"sort"
	"time"
)

// storedLines are the lines of a text or a file.
type storedLines struct {
	lines []storedLine
	// whole is the number of lines that end with a line feed in the file.
	whole int64
	// If existing is true, all lines have already been written, even lines with a time in the future, and their times
	// need not be in order. If existing is false, each line is written at its time.
	existing bool
}

type storedLine struct {
	at    time.Time
	isErr bool
	// text ends with a line feed. There are two exceptions: a partial line, whose text continues in the next line, and
	// an unfinished line at the end of a file.
	text []byte
}

func (s storedLines) written(now time.Time) int64 {
	if s.existing {
		return s.whole
	}
	return int64(sort.Search(len(s.lines), func(i int) bool { return s.lines[i].at.After(now) }))
}

func (s storedLines) time(i int64) time.Time { return s.lines[i].at }

func (s storedLines) total() int64 { return s.whole }

func (s storedLines) unfinished() int64 { return int64(len(s.lines)) - s.whole }

func (s storedLines) from(time.Time) int64 { return 0 }

func (s storedLines) stderr(i int64) bool { return s.lines[i].isErr }

func (s storedLines) appendLine(b []byte, i int64) []byte { return append(b, s.lines[i].text...) }

// parseCRI reads the CRI's log format. It returns no lines if there is no line or if any line is not in that format.
// (k8s.io/cri-client/pkg/logs, parseCRILog)
func parseCRI(data []byte) storedLines {
	s := storedLines{existing: true, whole: int64(bytes.Count(data, []byte("\n")))}
	for line := range bytes.Lines(data) {
		parts := bytes.SplitN(line, []byte(" "), 4) // a CRI line consists of time, stream, tags and text
		if len(parts) < 4 {
			return storedLines{}
		}
		at, err := time.Parse(time.RFC3339Nano, string(parts[0]))
		stream, text := string(parts[1]), parts[3]
		if err != nil || stream != "stdout" && stream != "stderr" {
			return storedLines{}
		}
		if tag, _, _ := bytes.Cut(parts[2], []byte(":")); string(tag) == "P" {
			text = bytes.TrimSuffix(text, []byte("\n"))
		}
		s.lines = append(s.lines, storedLine{at: at, isErr: stream == "stderr", text: text})
	}
	return s
}

// splitLines cuts a text after each line feed. It adds a line feed to the last line if there is none.
func splitLines(data []byte) [][]byte {
	lines := slices.Collect(bytes.Lines(data))
	if last := len(lines) - 1; last >= 0 && !bytes.HasSuffix(lines[last], []byte("\n")) {
		lines[last] = append(lines[last], '\n')
	}
	return lines
}
