package pods

import (
	"bytes"
	"io"
	"sync"
)

// terminal is a writer that converts line ends like the line discipline of a terminal. Each line end becomes a carriage
// return and a line feed. A line end is a line feed, or a carriage return with or without a line feed after it. A
// carriage return without a line feed is the echo of the Enter key.
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

// keyboard reads and echoes the input of a terminal. Enter becomes a line feed. Ctrl-C and Ctrl-D end the input.
type keyboard struct {
	from io.Reader
	echo io.Writer
}

func (k *keyboard) Read(p []byte) (int, error) {
	n, err := k.from.Read(p)
	if end := bytes.IndexAny(p[:n], "\x03\x04"); end >= 0 {
		n, err = end, io.EOF
	}
	copy(p, bytes.ReplaceAll(p[:n], []byte("\r"), []byte("\n")))
	_, _ = k.echo.Write(p[:n])
	return n, err
}

// lockedWriter serializes writes until it is closed. It drops empty writes, which would send empty frames.
type lockedWriter struct {
	lock sync.Mutex
	to   io.Writer // nil after close
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.to == nil {
		return 0, io.ErrClosedPipe
	}
	return w.to.Write(p)
}

// close waits for a write in progress, and makes later writes fail.
func (w *lockedWriter) close() {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.to = nil
}
