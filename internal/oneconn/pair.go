package oneconn

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Pair returns both ends of a connection within the process. The caller closes both. It behaves like a TCP connection:
// each end can write before the other reads, and data that is written after the other end has closed is lost without an
// error, up to maxLost bytes, as in a send buffer.
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
		conn, fileErr := net.FileConn(file) // duplicates the descriptor
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

// maxLost is how many bytes an end accepts after the other has closed: as much as a client may send while it still
// reads.
const maxLost = 64 << 10

// end is one end of a Pair.
type end struct {
	net.Conn
	lost atomic.Int64 // bytes
}

// Write hides the error of a socket whose other end has closed, up to maxLost bytes. Over TCP such a write succeeds,
// and the response that the other end sent before it closed can still be read. A proxy that copies in both directions
// stops at the first error, so with an error here it would lose that response.
func (e *end) Write(p []byte) (int, error) {
	n, err := e.Conn.Write(p)
	if (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) && e.lost.Add(int64(len(p))) <= maxLost {
		return len(p), nil
	}
	return n, err
}
