package logging

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap/zapcore"
)

// flushInterval is the longest time that a line waits in memory, and batchSize is the number of bytes after which the
// waiting lines are written earlier.
const (
	flushInterval = 200 * time.Millisecond
	batchSize     = 64 << 10
)

// batch writes log lines to a file or pipe in batches, because a system call for each line takes longer than everything
// else that logging does. Sync writes the waiting lines.
type batch struct {
	zapcore.BufferedWriteSyncer
	ended atomic.Bool
}

// current is the batch of the logger that New has returned last. It is nil if that logger writes each line at once.
var current atomic.Pointer[batch]

// newSink returns the output for a logger that writes to w. Lines are written in batches only to a file or pipe: a
// terminal shows each line at once. newSink ends the batches of the previous logger.
func newSink(w io.Writer) zapcore.WriteSyncer {
	// AddSync would call the Sync of a file, which waits for the disk.
	plain := zapcore.AddSync(struct{ io.Writer }{w})
	var next *batch
	if _, ok := w.(*os.File); ok && !isTerminal(w) {
		next = &batch{BufferedWriteSyncer: zapcore.BufferedWriteSyncer{WS: plain, Size: batchSize,
			FlushInterval: flushInterval}}
	}
	current.Swap(next).end()
	if next == nil {
		return zapcore.Lock(plain)
	}
	return next
}

// Write writes p at once if the batches have ended.
func (b *batch) Write(p []byte) (int, error) {
	n, err := b.BufferedWriteSyncer.Write(p)
	if b.ended.Load() {
		err = errors.Join(err, b.Sync())
	}
	return n, err
}

// The method "end" writes the waiting lines. Each later line is written at once.
func (b *batch) end() {
	if b != nil {
		b.ended.Store(true) // before Stop: a line that Stop does not write any more is then written by Write
		b.Stop()
	}
}

// EndBatches writes the log lines that wait in memory. From then on, each line is written at once. The program calls it
// before it exits, and as soon as it is asked to stop. It does nothing if the logger writes each line at once anyway.
func EndBatches() { current.Load().end() }
