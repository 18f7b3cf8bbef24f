package pods

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/scenario"
)

// source is what a log is read from: numbered lines, each with a time and a stream. It is safe for concurrent use.
type source interface {
	// written is how many lines had been written at that time.
	written(now time.Time) int64
	// time is when line i is written. Beyond the last line it is when another would be.
	time(i int64) time.Time
	// ends says whether there is a last line, and how many there are then.
	ends() (int64, bool)
	// from is the first line that may have been written at since or later; those before it were not.
	from(since time.Time) int64
	stderr(i int64) bool
	// appendLine appends the text of line i, with its line feed.
	appendLine(b []byte, i int64) []byte
}

// newSource makes the source of a log. A log with an end and without a start ended at made.
func newSource(log scenario.Log, pod *v1.Pod, container string, made time.Time) (source, error) {
	data := []byte(log.Text)
	if log.File != "" {
		var err error
		if data, err = os.ReadFile(log.File); err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
	}
	written := log.Text != "" || log.File != ""
	if written {
		if lines := parseCRI(data); lines != nil {
			return lines, nil
		}
	}

	s := schedule{interval: cmp.Or(log.Interval.Duration, scenario.DefaultLogInterval), lines: log.Lines}
	text := splitLines(data)
	if written {
		s.lines = int64(len(text))
	}
	s.start = made.Add(-age)
	switch {
	case log.Start != nil:
		s.start = log.Start.Time
	case s.lines > 0:
		s.start = made.Add(-time.Duration(s.lines) * s.interval)
	case written:
		s.start = made
	}
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%d/%s/%s/%s", log.Seed, pod.Namespace, pod.Name, container)
	s.seed = hash.Sum64()
	s.stderrBelow = uint64(log.Stderr * math.MaxUint32)
	if written {
		return &textLines{s, text}, nil
	}
	return &madeUp{s}, nil
}

// schedule writes line i at start + i × interval.
type schedule struct {
	start    time.Time
	interval time.Duration
	// lines is how many there are; 0: no end.
	lines int64
	seed  uint64
	// stderrBelow is the share of standard error in 2^32.
	stderrBelow uint64
}

func (s *schedule) time(i int64) time.Time { return s.start.Add(time.Duration(i) * s.interval) }

func (s *schedule) ends() (int64, bool) { return s.lines, s.lines > 0 }

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

// random is 64 bits for line i. (splitmix64)
func (s *schedule) random(i int64) uint64 {
	z := s.seed + uint64(i)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// madeUp are lines that look like those of a web server. Each is its number and one of the requests.
type madeUp struct{ schedule }

func (m *madeUp) appendLine(b []byte, i int64) []byte {
	b = strconv.AppendInt(b, i, 10)
	return append(b, requests()[m.random(i)%requestCount]...)
}

// appendLines appends lines from next on, until there is no more before end or b is full; it says which is next then.
// It is appendLine many times over, and counts instead of converting each number.
func (m *madeUp) appendLines(b []byte, next, end int64, full int) ([]byte, int64) {
	requests := requests()
	number := newDecimal(next)
	for ; next < end && len(b) < full; next++ {
		b = append(b, number.digits[number.first:]...)
		b = append(b, requests[m.random(next)%requestCount]...)
		number.increment()
	}
	return b, next
}

// decimal is a number as its digits, from the first to the end of the array.
type decimal struct {
	digits [20]byte
	first  int
}

func newDecimal(i int64) *decimal {
	d := &decimal{}
	text := strconv.AppendInt(nil, i, 10)
	d.first = len(d.digits) - len(text)
	copy(d.digits[d.first:], text)
	return d
}

func (d *decimal) increment() {
	for i := len(d.digits) - 1; ; i-- {
		if i < d.first {
			d.first = i
			d.digits[i] = '1'
			return
		}
		if d.digits[i] < '9' {
			d.digits[i]++
			return
		}
		d.digits[i] = '0'
	}
}

// requestCount is how many requests there are to choose from: few enough to stay in a processor's cache, enough not to
// look like a loop.
const requestCount = 1 << 10

// requests are what a web server logs of a request, from the space before it to the line feed.
var requests = sync.OnceValue(func() *[requestCount][]byte {
	methods := [...]string{"GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT"}
	paths := [...]string{"/", "/index.html", "/items/%d", "/items/%d", "/items/%d", "/cart/%d", "/login", "/healthz"}
	statuses := [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 201, 204, 304, 404, 404, 500}
	made := new([requestCount][]byte)
	s := schedule{seed: requestCount}
	for i := range made {
		r := s.random(int64(i))
		path := paths[r>>11&7]
		if strings.Contains(path, "%") {
			path = fmt.Sprintf(path, r>>14&0xfff)
		}
		made[i] = fmt.Appendf(nil, " 10.244.%d.%d \"%s %s HTTP/1.1\" %d %d\n",
			r&3, r>>2&0x3f+1, methods[r>>8&7], path, statuses[r>>26&15], r>>30&0x3fff)
	}
	return made
})

// textLines are the lines of a text.
type textLines struct {
	schedule
	text [][]byte
}

func (t *textLines) appendLine(b []byte, i int64) []byte { return append(b, t.text[i]...) }

// ends: a text has an end even where it is empty.
func (t *textLines) ends() (int64, bool) { return int64(len(t.text)), true }

func (t *textLines) written(now time.Time) int64 {
	if len(t.text) == 0 {
		return 0
	}
	return t.schedule.written(now)
}

// splitLines cuts a text after each line feed, and adds one to the last line if it has none.
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
