package podlog

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/lru"
)

// lines is the content of a log: numbered lines, each with a time and a stream. It is safe for concurrent use.
type lines interface {
	// The method "written" returns how many lines are written at or before a time.
	written(now time.Time) int64
	// time returns when line i is written.
	time(i int64) time.Time
	// The method "total" returns how many lines the log has once all of them are written.
	total() int64
	// The method "unfinished" returns 1 if there is one more line after the last line with a line feed, otherwise 0. As
	// in a kubelet, the other methods do not count this unfinished line, and a reader that follows the log does not get
	// it.
	unfinished() int64
	// The method "from" returns the number of a line with which a search for the lines since the given time can begin:
	// all lines before it were written earlier. A line after it may have been written earlier too.
	from(since time.Time) int64
	stderr(i int64) bool
	// appendLine appends the text of line i, including its line feed, to b.
	appendLine(b []byte, i int64) []byte
}

// generatedLines look like the access log of a web server. Each line consists of its number and one of a fixed set of
// requests. Line i is written at start + i × interval.
type generatedLines struct {
	start       time.Time
	interval    time.Duration
	count       int64 // the number of lines
	seed        uint64
	stderrBelow uint64 // the share of lines that go to standard error, in units of 1/2^32
}

// maxLines returns the number of lines in the longest Duration, which is 292 years.
func (g *generatedLines) maxLines() int64 { return int64(math.MaxInt64 / g.interval) }

// The method "after" returns the time between the first line and line i, but at most the longest Duration.
func (g *generatedLines) after(i int64) time.Duration {
	return time.Duration(min(i, g.maxLines())) * g.interval
}

func (g *generatedLines) time(i int64) time.Time { return g.start.Add(g.after(i)) }

func (g *generatedLines) total() int64 { return g.count }

func (g *generatedLines) unfinished() int64 { return 0 }

func (g *generatedLines) written(now time.Time) int64 {
	if now.Before(g.start) {
		return 0
	}
	return min(int64(now.Sub(g.start)/g.interval), g.count-1) + 1 // Sub may return the longest Duration
}

func (g *generatedLines) from(since time.Time) int64 {
	if !since.After(g.start) {
		return 0
	}
	return min(int64((since.Sub(g.start)-1)/g.interval)+1, g.count)
}

func (g *generatedLines) stderr(i int64) bool {
	return g.stderrBelow > 0 && g.random(i)>>32 <= g.stderrBelow
}

func (g *generatedLines) appendLine(b []byte, i int64) []byte {
	b = strconv.AppendInt(b, i, 10)
	return append(b, requests()[g.random(i)%requestCount]...)
}

// blockLines is the number of lines in a block.
const blockLines = 2048

// block is the text of blockLines consecutive lines of a generated log, about 150 kB. Block n begins with the line n ×
// blockLines. Line i of the block, counted from 0, is text[starts[i]:starts[i+1]].
type block struct {
	text   []byte
	starts [blockLines + 1]int
}

// render replaces the content of a block. Many calls of appendLine would make the same text, but take three times as
// long: render converts only the first number to decimal digits, and then increments these digits.
func (g *generatedLines) render(b *block, n int64) {
	requests := requests()
	first := n * blockLines
	number := newDecimal(first)
	b.text = b.text[:0]
	for i := range b.starts {
		b.starts[i] = len(b.text)
		if i == blockLines {
			return
		}
		b.text = append(b.text, number.digits[number.first:]...)
		b.text = append(b.text, requests[g.random(first+int64(i))%requestCount]...)
		number.increment()
	}
}

// blocks keeps the blocks that were read last, at most 10 MB for all logs. Nothing changes a block in the cache.
var blocks = lru.New(64)

// keptLines is the number of lines up to which the blocks of a read log are kept. The blocks of longer logs would
// replace each other before they could be used again.
const keptLines = 32 * blockLines

type blockKey struct {
	seed uint64
	n    int64
}

// block returns block n of the log. If the block is not in the cache, block renders it: into a new block, which it then
// adds to the cache, or into scratch if keep is false. The caller must not change the block.
func (g *generatedLines) block(n int64, keep bool, scratch *block) *block {
	key := blockKey{g.seed, n}
	if kept, ok := blocks.Get(key); ok {
		return kept.(*block)
	}
	if !keep {
		g.render(scratch, n)
		return scratch
	}
	b := new(block)
	g.render(b, n)
	blocks.Add(key, b)
	return b
}

// decimal is a number in decimal digits. The number consists of the bytes digits[first:].
type decimal struct {
	digits [20]byte
	first  int
}

func newDecimal(i int64) *decimal {
	text := strconv.AppendInt(nil, i, 10)
	d := &decimal{first: len(decimal{}.digits) - len(text)}
	copy(d.digits[d.first:], text)
	return d
}

func (d *decimal) increment() {
	i := len(d.digits) - 1
	for ; i >= d.first && d.digits[i] == '9'; i-- {
		d.digits[i] = '0'
	}
	if i < d.first {
		d.first, d.digits[i] = i, '0'
	}
	d.digits[i]++
}

// random returns 64 pseudorandom bits for line i, computed with splitmix64.
func (g *generatedLines) random(i int64) uint64 {
	z := g.seed + uint64(i)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// withText returns lines with the given texts, and with the times and streams that generated lines would have.
func (g *generatedLines) withText(text [][]byte) storedLines {
	s := storedLines{lines: make([]storedLine, len(text)), whole: int64(len(text))}
	for i := range text {
		s.lines[i] = storedLine{at: g.time(int64(i)), isErr: g.stderr(int64(i)), text: text[i]}
	}
	return s
}

// requestCount is the number of different requests. All of them fit into a processor's cache.
const requestCount = 1 << 10

// The function "requests" returns the texts that can follow the number of a line. Each text begins with a space and
// ends with a line feed.
var requests = sync.OnceValue(func() *[requestCount][]byte {
	methods := [...]string{"GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "PUT"}
	paths := [...]string{"/", "/index.html", "/items/%d", "/items/%d", "/items/%d", "/cart/%d", "/login", "/healthz"}
	statuses := [...]int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 201, 204, 304, 404, 404, 500}
	made := new([requestCount][]byte)
	s := generatedLines{seed: requestCount}
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
