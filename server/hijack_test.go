package server

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// TestHijackedClose expects the client to receive everything that was written before Close, even if the client is
// still sending.
func TestHijackedClose(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// The server has read only the first byte. The second byte is unread, in a buffer or on the network.
	if _, err := client.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	output := bytes.Repeat([]byte("x"), 1<<20)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		served := &hijacked{Conn: conn, closed: func() {}}
		if _, err := served.Write(output); err != nil {
			t.Error(err)
		}
		served.Close()
	}()
	got, err := io.ReadAll(client)
	if err != nil || len(got) != len(output) {
		t.Errorf("the client received %d bytes of %d, %v", len(got), len(output), err)
	}
	client.Close()
	<-closed
}

// TestHijackedCloseDuringWrite expects Close to return although CloseWrite waits for a blocked Write. In a tls.Conn,
// CloseWrite waits for a concurrent Write, and a Write is blocked while the client does not read.
func TestHijackedCloseDuringWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, client := net.Pipe()
		defer client.Close()
		served := &hijacked{Conn: waitingConn{conn, make(chan struct{})}, closed: func() {}}
		go served.Write([]byte("x"))
		served.Close()
	})
}

// waitingConn is a connection whose CloseWrite waits for the end of Write.
type waitingConn struct {
	net.Conn
	written chan struct{}
}

func (w waitingConn) Write(p []byte) (int, error) {
	defer close(w.written)
	return w.Conn.Write(p)
}

func (w waitingConn) CloseWrite() error {
	<-w.written
	return net.ErrClosed
}
