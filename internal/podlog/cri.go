package podlog

import (
	"bytes"
	"math"
	"time"
)

// criLines are the lines of a log file of a container runtime. All lines count as written, even lines with a later
// time.
type criLines []criLine

type criLine struct {
	at    time.Time
	isErr bool
	// text ends with a line feed, unless the line is partial. The next line then continues a partial line.
	text []byte
}

// parseCRI reads the CRI's log format. It returns nil if any line is not in that format.
// (k8s.io/cri-client/pkg/logs, parseCRILog)
func parseCRI(data []byte) criLines {
	var lines criLines
	for _, line := range splitLines(data) {
		at, rest, ok := bytes.Cut(line, []byte(" "))
		if !ok {
			return nil
		}
		stream, rest, ok := bytes.Cut(rest, []byte(" "))
		if !ok {
			return nil
		}
		tags, text, ok := bytes.Cut(rest, []byte(" "))
		if !ok {
			return nil
		}
		when, err := time.Parse(time.RFC3339Nano, string(at))
		if err != nil || string(stream) != "stdout" && string(stream) != "stderr" {
			return nil
		}
		if tag, _, _ := bytes.Cut(tags, []byte(":")); string(tag) == "P" {
			text = bytes.TrimSuffix(text, []byte("\n"))
		}
		lines = append(lines, criLine{at: when, isErr: string(stream) == "stderr", text: text})
	}
	return lines
}

func (c criLines) written(time.Time) int64 { return int64(len(c)) }

func (c criLines) end() (int64, bool) { return int64(len(c)), true }

func (c criLines) time(i int64) time.Time {
	if i >= int64(len(c)) {
		return time.Unix(math.MaxInt32, 0)
	}
	return c[i].at
}

// from implements lines. It returns 0, because the times need not be in order.
func (c criLines) from(time.Time) int64 { return 0 }

func (c criLines) stderr(i int64) bool { return c[i].isErr }

func (c criLines) appendLine(b []byte, i int64) []byte { return append(b, c[i].text...) }
