package server

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasEnded reports whether the other side has closed a TCP connection. There may still be data to read before the end.
func hasEnded(conn net.Conn) bool {
	for wrapper, ok := conn.(interface{ NetConn() net.Conn }); ok; wrapper, ok = conn.(interface{ NetConn() net.Conn }) {
		conn = wrapper.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}, 0)
		ended = err == nil && n > 0 // also for POLLHUP and POLLERR
	})
	return ended || err != nil // an error means that this side has closed the connection
}
