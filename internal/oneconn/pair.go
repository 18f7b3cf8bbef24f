package oneconn

import (
	"net"
	"os"
	"syscall"
)

// Pair makes both ends of a connection that nobody else can reach. Each end may write before the other reads, as over a
// network, which is why it is the operating system's and not a net.Pipe.
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
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		conn, connErr := net.FileConn(file) // which has its own descriptor
		file.Close()
		if connErr != nil {
			err = connErr
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
