// Package freeport finds TCP ports on which no process listens, for tests and for the demo.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// Next returns ports from 20000 to 29999. When a process listens on port 0 or opens a connection, Linux, macOS and
// Windows choose a higher port for it. So no such process takes a port between the call of Next and the use of the
// port.
const first, count = 20000, 10000

var next atomic.Uint32

func init() { next.Store(rand.Uint32N(count)) }

// Next returns a port of 127.0.0.1 on which no process listens. Each call returns a different port, until this process
// has tried all 10000 ports and starts again. Several goroutines may call Next at the same time.
func Next() (int, error) {
	for range count {
		port := first + int(next.Add(1)%count)
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("all ports from 20000 to 29999 of 127.0.0.1 are in use; stop a program that uses some of them")
}
