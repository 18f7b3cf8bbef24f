package oneconn

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Pair makes both ends of a connection that nobody else can reach, and that behaves as one over a network: each end may
// write before the other reads, and what is written after the other end has closed is lost without an error, up to
// maxLost bytes, as what a send buffer takes.
func Pair() (net.Conn, net.Conn, error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var ends [2]*end
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		conn, fileErr := net.FileConn(file) // which has its own descriptor
		file.Close()
		if fileErr != nil {
			err = errors.Join(err, fileErr)
			continue
		}
		ends[i] = &end{Conn: conn}
	}
	if err != nil {
		for _, end := range ends {
			if end != nil {
				end.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// maxLost is how much an end takes for one that has closed: no less than what a client sends while it still reads.
const maxLost = 64 << 10

// end is one of a pair.
type end struct {
	net.Conn
	lost atomic.Int64 // bytes
}

// Write fails at once on a socket whose other end has closed. Over a network it would not: the answer that the other end
// sent before it closed is still to be read. A proxy that copies both ways ends with the first error, and would lose it.
func (e *end) Write(p []byte) (int, error) {
	n, err := e.Conn.Write(p)
	if (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) && e.lost.Add(int64(len(p))) <= maxLost {
		return len(p), nil
	}
	return n, err
}
