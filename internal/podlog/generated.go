package podlog

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// generatedLines look like the access log of a web server. Each line consists of its number and one of a fixed set
// of requests.
type generatedLines struct{ schedule }

func (g *generatedLines) appendLine(b []byte, i int64) []byte {
	b = strconv.AppendInt(b, i, 10)
	return append(b, requests()[g.random(i)%requestCount]...)
}

// appendLines appends the lines from next until end, or until b has full bytes. It returns the number of the next
// line to append. The result is the same as from many calls of appendLine, but appendLines is faster because it
// increments the number in decimal digits.
func (g *generatedLines) appendLines(b []byte, next, end int64, full int) ([]byte, int64) {
	requests := requests()
	number := newDecimal(next)
	for ; next < end && len(b) < full; next++ {
		b = append(b, number.digits[number.first:]...)
		b = append(b, requests[g.random(next)%requestCount]...)
		number.increment()
	}
	return b, next
}

// decimal is a number as decimal digits. The digits start at index first and end at the end of the array.
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

// requestCount is the number of different requests: few enough to fit into a processor's cache, and enough that
// readers notice no repetition.
const requestCount = 1 << 10

// requests returns the texts that follow the number of a line. Each begins with a space and ends with a line feed.
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
