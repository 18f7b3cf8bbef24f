package pods

import (
	"bytes"
	"io"
	"sync"
)

// terminal writes like the line discipline of a terminal. A line feed becomes a carriage return and a line feed, and
// so does a carriage return, which is the echo of an Enter key.
type terminal struct {
	to   io.Writer
	last byte
}

func (t *terminal) Write(p []byte) (int, error) {
	if t.to == nil {
		return len(p), nil
	}
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

// lockedWriter serializes writes. It drops empty writes, which would be empty frames on a stream.
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
