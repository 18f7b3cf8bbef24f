package podlog

import (
	"io"
	"math"
	"reflect"
	"sync"
)

// chunk is the number of bytes in one write. A kubelet instead writes and flushes each line separately.
const chunk = 256 << 10

// buffers is a pool of unused buffers. A chunk is written after the line that fills it, so a buffer has room for a
// chunk and one line.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, chunk+1<<10)
	return &b
}}

// output collects lines into chunks, for one or two streams, and stops after a number of bytes.
type output struct {
	stdout, stderr io.Writer
	// buffer contains lines that have not been written yet. They go to the writer to, which is stdout or stderr.
	buffer []byte
	to     io.Writer
	same   bool
	remain int64
}

func newOutput(stdout, stderr io.Writer, limit *int64) *output {
	o := &output{stdout: stdout, stderr: stderr, remain: math.MaxInt64, same: sameWriter(stdout, stderr)}
	o.buffer = (*buffers.Get().(*[]byte))[:0]
	if limit != nil {
		o.remain = *limit
	}
	return o
}

// stream selects the stream of the next line and returns its writer, or nil if the line is not wanted. If the buffer
// contains lines of the opposite stream, it writes them first.
func (o *output) stream(isErr bool) (to io.Writer, err error) {
	to = o.stdout
	if isErr {
		to = o.stderr
	}
	if to == nil {
		return nil, nil
	}
	if len(o.buffer) > 0 && !o.same && to != o.to {
		err = o.flush()
	}
	o.to = to
	return to, err
}

// grow stores the buffer after the caller has appended a line to it, and writes the buffer if it is full. done
// reports that the limit of bytes is reached and everything has been written.
func (o *output) grow(buffer []byte) (done bool, err error) {
	added := int64(len(buffer) - len(o.buffer))
	if added >= o.remain {
		o.buffer = buffer[:int64(len(o.buffer))+o.remain]
		o.remain = 0
		return true, o.flush()
	}
	o.buffer = buffer
	o.remain -= added
	if len(buffer) >= chunk {
		return false, o.flush()
	}
	return false, nil
}

// flush writes the contents of the buffer and empties it.
func (o *output) flush() error {
	if len(o.buffer) == 0 {
		return nil
	}
	_, err := o.to.Write(o.buffer)
	o.buffer = o.buffer[:0]
	return err
}

// release returns the buffer to the pool and drops its content.
func (o *output) release() {
	if cap(o.buffer) <= 2*chunk {
		buffers.Put(&o.buffer)
	}
}

// flushWriters flushes the writers that have a Flush method.
func (o *output) flushWriters() {
	for _, w := range []io.Writer{o.stdout, o.stderr} {
		if f, ok := w.(interface{ Flush() }); ok {
			f.Flush()
			if o.same {
				return
			}
		}
	}
}

// sameWriter reports whether both streams go to the same writer. Writers that cannot be compared count as different.
func sameWriter(a, b io.Writer) bool {
	if a == nil || b == nil {
		return true
	}
	ta, tb := reflect.TypeOf(a), reflect.TypeOf(b)
	return ta == tb && ta.Comparable() && a == b
}
