//go:build !unix

package oneconn

import "net"

// connectedSockets returns the ends of a TCP connection over loopback, because this platform has no socketpair. The
// caller closes both.
func connectedSockets() (net.Conn, net.Conn, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	dialed, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	for {
		accepted, err := listener.Accept()
		if err != nil {
			dialed.Close()
			return nil, nil, err
		}
		if accepted.RemoteAddr().String() == dialed.LocalAddr().String() {
			return accepted, dialed, nil
		}
		accepted.Close() // another program connected first
	}
}
