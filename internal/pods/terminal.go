package pods

import (
	"bytes"
	"io"
	"sync"
)

// terminal writes as a terminal's line discipline does: a line feed becomes a carriage return and a line feed, and so does
// the carriage return of an Enter that comes back.
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

// locked is a writer to which one at a time writes.
type locked struct {
	lock sync.Mutex
	to   io.Writer
}

func (w *locked) Write(p []byte) (int, error) {
	if len(p) == 0 { // on a stream of frames, an empty one says nothing
		return 0, nil
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.to.Write(p)
}
