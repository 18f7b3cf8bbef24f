package freeport

import (
	"net"
	"strconv"
	"testing"
)

// TestNext checks that ports are free and differ, and that a port in use is skipped.
func TestNext(t *testing.T) {
	seen := map[int]bool{}
	for range 100 {
		port, err := Next()
		if err != nil || seen[port] {
			t.Fatalf("port %d, error %v, after %v", port, err, seen)
		}
		seen[port] = true
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}
	next.Store(next.Load() - 100)
	if port, err := Next(); err != nil || seen[port] {
		t.Errorf("port %d, error %v: it is in use", port, err)
	}
}
