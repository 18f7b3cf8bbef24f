package host

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestBegunListenerClosesItsConnection checks that the connection with which a node begins does not stay open if the
// node's server cannot be made, and that a connection that the server has accepted is not closed.
func TestBegunListenerClosesItsConnection(t *testing.T) {
	for _, accepted := range []bool{false, true} {
		port, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", port.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		first, err := port.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		begun := &begunListener{Listener: port, first: first}
		want, wait := io.EOF, time.Minute
		if accepted {
			if got, err := begun.Accept(); got != first || err != nil {
				t.Fatalf("Accept: %v, %v", got, err)
			}
			want, wait = os.ErrDeadlineExceeded, 20*time.Millisecond
		}
		if err := begun.Close(); err != nil {
			t.Error(err)
		}
		client.SetReadDeadline(time.Now().Add(wait))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("accepted %v: the client gets %v, want %v", accepted, err, want)
		}
		if _, err := begun.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	}
}
