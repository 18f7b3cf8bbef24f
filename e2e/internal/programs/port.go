package programs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// FreePort chooses from the ports between firstPort and lastPort. They are below the range that Linux uses for
// outgoing connections (32768 to 60999), so that no connection can take the port before the server starts.
const firstPort, lastPort = 15000, 32000

// FreePort returns a port of 127.0.0.1 on which nothing listens. All test binaries on this machine share one
// counter, so that two tests never get the same port until the whole range has been used.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := nextFreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func nextFreePort() (int, error) {
	path := filepath.Join(os.TempDir(), "fauxlet-e2e-port")
	unlock, err := lock(path + ".lock")
	if err != nil {
		return 0, err
	}
	defer unlock()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil { // the file is empty in the first run on this machine
		last = firstPort
	}
	for range lastPort - firstPort {
		if last++; last > lastPort {
			last = firstPort
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", last))
		if err != nil {
			continue // another program listens on this port
		}
		if err := listener.Close(); err != nil {
			return 0, err
		}
		return last, os.WriteFile(path, []byte(strconv.Itoa(last)), 0o644)
	}
	return 0, fmt.Errorf("no port from %d to %d is free", firstPort, lastPort)
}
