package pods

import (
	"bytes"
	"io"
	"sync"
)

// terminal is a writer that converts line ends like the line discipline of a terminal. Each line feed and each
// carriage return becomes a carriage return and a line feed. The carriage returns are echoes of the Enter key.
type terminal struct {
	to   io.Writer
	last byte
}

func (t *terminal) Write(p []byte) (int, error) {
	var out bytes.Buffer
	for _, b := range p {
		switch {
		case b == '\r', b == '\n' && t.last != '\r':
			out.WriteString("\r\n")
		case b != '\n':
			out.WriteByte(b)
		}
		t.last = b
	}
	if _, err := t.to.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// lockedWriter serializes writes. It drops empty writes, because each empty write would send an empty frame on a
// stream.
type lockedWriter struct {
	lock sync.Mutex
	to   io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.to.Write(p)
}
