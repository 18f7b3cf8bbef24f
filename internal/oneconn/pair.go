package oneconn

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
)

// Pair returns both ends of a connection within the process. The caller closes both ends. The connection behaves like a
// TCP connection: each end can write before the other reads. Data that is written after the other end has closed is
// lost without an error, up to maxLost bytes, as in a send buffer.
func Pair() (net.Conn, net.Conn, error) {
	a, b, err := connectedSockets()
	if err != nil {
		return nil, nil, err
	}
	return &end{Conn: a}, &end{Conn: b}, nil
}

// maxLost is how many bytes can be written to an end, without an error, after the other end has closed.
const maxLost = 64 << 10

// end is one end of a Pair.
type end struct {
	net.Conn
	lost atomic.Int64 // bytes
}

// Write reports success for up to maxLost bytes that are lost because the other end has closed. A write to a TCP
// connection succeeds in this case too, and the other end's last response can still be read. If Write returned an error
// at once, a proxy that copies in both directions would stop, and would lose that response.
func (e *end) Write(p []byte) (int, error) {
	n, err := e.Conn.Write(p)
	if (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) && e.lost.Add(int64(len(p))) <= maxLost {
		return len(p), nil
	}
	return n, err
}
