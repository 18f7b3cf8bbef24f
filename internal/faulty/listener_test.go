package faulty_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"fauxlet/internal/faulty"
)

// listen returns a listener on a free port with the faults of a node. The test closes the listener when it ends.
func listen(t *testing.T, n *faulty.Node) net.Listener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := n.Listener(inner, true)
	t.Cleanup(func() { l.Close() })
	return l
}

// dial opens a connection to a listener, and returns the client's end and the accepted end. The client's end is closed
// when the test ends.
func dial(t *testing.T, l net.Listener) (client, accepted net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, accepted
}

// TestBlackHolesAreLimited checks that a new unanswered connection closes the oldest one if there are too many, and
// that connections that clients have closed do not count.
func TestBlackHolesAreLimited(t *testing.T) {
	n, set := node()
	n.BlackHoles = faulty.NewBlackHoles(2)
	other := faulty.NewNode("node-2", set, nil)
	other.BlackHoles = n.BlackHoles
	add(t, set, `{"kind": "connection-black-hole"}`)
	first, second := listen(t, n), listen(t, other)
	var clients []net.Conn
	for _, l := range []net.Listener{first, second, first, second} {
		client, _ := dial(t, l)
		clients = append(clients, client)
	}
	isClosed := func(client net.Conn, wait time.Duration) error {
		client.SetReadDeadline(time.Now().Add(wait))
		_, err := client.Read(make([]byte, 1))
		return err
	}
	for i, client := range clients {
		if i < 2 {
			if err := isClosed(client, time.Minute); !errors.Is(err, io.EOF) {
				t.Errorf("connection %d: %v, want io.EOF", i, err)
			}
		} else if err := isClosed(client, 20*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d: %v, want an open connection", i, err)
		}
	}
	set.Clear()
	for i, client := range clients[2:] {
		if err := isClosed(client, time.Minute); !errors.Is(err, io.EOF) {
			t.Errorf("after the fault, connection %d: %v, want io.EOF", i+2, err)
		}
	}
}

// TestCloseEndsSlowHandshake checks that Close ends the delay of a slow-handshake fault.
func TestCloseEndsSlowHandshake(t *testing.T) {
	n, set := node()
	add(t, set, `{"kind": "slow-handshake", "delay": "1h"}`)
	_, accepted := dial(t, listen(t, n))
	read := make(chan error)
	go func() {
		_, err := accepted.Read(make([]byte, 1))
		read <- err
	}()
	accepted.Close()
	select {
	case err := <-read:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v, want net.ErrClosed", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Read is still delayed a minute after Close")
	}
}
