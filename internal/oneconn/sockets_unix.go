//go:build unix

package oneconn

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// connectedSockets returns the ends of a pair of Unix sockets. The caller closes both.
func connectedSockets() (net.Conn, net.Conn, error) {
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
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		conn, fileErr := net.FileConn(file) // duplicates the descriptor
		file.Close()
		if fileErr != nil {
			err = errors.Join(err, fileErr)
			continue
		}
		ends[i] = conn
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
