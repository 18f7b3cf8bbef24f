package podlog

import (
	"context"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// timestampFormat is the format of the time before a line. (k8s.io/cri-client/pkg/logs, timeFormatOut)
const timestampFormat = "2006-01-02T15:04:05.000000000Z07:00 "

type clockSkewKey struct{}

// WithClock returns a context for [Log.Read]. With this context, Read shifts the timestamps of lines as if the node's
// clock were ahead of this machine's clock.
func WithClock(ctx context.Context, ahead time.Duration) context.Context {
	return context.WithValue(ctx, clockSkewKey{}, ahead)
}

// Read writes lines of the log to stdout and stderr. The options select the lines. If a writer is nil, Read drops the
// lines of its stream. stdout and stderr may be the same writer. The argument "running" is true if more lines may come.
//
// With options.Follow, Read waits for further lines until ctx is done, which is not an error, or until the log has
// ended. Before it waits, and at no other time, it flushes writers that have a Flush method. Read returns the errors of
// writers. (k8s.io/cri-client/pkg/logs, ReadLogs)
func (l *Log) Read(ctx context.Context, options *v1.PodLogOptions, running bool, stdout, stderr io.Writer) error {
	if stdout != nil {
		// Like the kubelet, make an empty write, so that the response begins even if the log never gets a line.
		if _, err := stdout.Write(nil); err != nil {
			return err
		}
	}
	ahead, _ := ctx.Value(clockSkewKey{}).(time.Duration)
	r := &reader{Log: l, stdout: stdout, stderr: stderr, timestamps: options.Timestamps, ahead: ahead,
		remain: ptr.Deref(options.LimitBytes, math.MaxInt64), lineStart: true}
	now := time.Now()
	if seconds := options.SinceSeconds; seconds != nil {
		// As in the kubelet, this multiplication overflows and wraps around if SinceSeconds is more than 292 years.
		r.since = now.Add(-time.Duration(*seconds) * time.Second)
	}
	if since := options.SinceTime; since != nil && since.Add(-ahead).After(r.since) {
		r.since = since.Add(-ahead)
	}
	next, end := int64(0), l.written(now)
	tail := options.TailLines
	if tail != nil {
		next = max(next, end-*tail)
	}
	if !options.Follow && (tail == nil || *tail > end) {
		end += l.lines.unfinished()
	}
	next = max(next, l.lines.from(r.since))

	for {
		if done, err := r.write(ctx, next, end); done || err != nil {
			return err
		}
		next = max(next, end)
		if !options.Follow || !running {
			return nil
		}
		r.flushWriters()
		var more bool
		if more, running = l.wait(ctx, next); !more {
			return nil
		}
		end = l.written(time.Now())
	}
}

// chunk is the number of bytes in one write of many lines. (A kubelet writes and flushes each line separately.)
const chunk = 256 << 10

// manyLines is the number of lines from which the method "write" uses blocks, and a buffer of the pool.
const manyLines = 1000

// buffers is a pool of blocks whose content is not needed any more. The text of each has room for a chunk and for one
// more line.
var buffers = sync.Pool{New: func() any { return &block{text: make([]byte, 0, chunk+1<<10)} }}

// smallBuffers is a pool of buffers for fewer lines.
var smallBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, 2<<10)) }}

// reader is the state of one call of Read.
type reader struct {
	*Log
	stdout, stderr io.Writer
	timestamps     bool
	ahead          time.Duration // how far the clock for timestamps is ahead of this machine's clock
	since          time.Time
	remain         int64 // the number of bytes until the limit
	// lineStart is set if the previous line was empty or ended with a line feed. The next line then begins with a
	// timestamp.
	lineStart bool
	buffer    []byte    // lines that have not been written yet
	to        io.Writer // the writer for the buffer: stdout or stderr
}

// The method "write" writes lines. The argument "next" is the number of the first line, and "end" is the number after
// the last line. The result "done" is true if the limit of bytes is reached or ctx is done.
func (r *reader) write(ctx context.Context, next, end int64) (done bool, err error) {
	if end-next >= manyLines {
		buffer := buffers.Get().(*block)
		defer buffers.Put(buffer)
		g, ok := r.lines.(*generatedLines)
		if ok && g.stderrBelow == 0 && !r.timestamps && r.stdout != nil && r.since.IsZero() {
			return r.writeBlocks(ctx, g, next, end, buffer)
		}
		r.buffer = buffer.text[:0]
		defer func() { r.buffer = nil }()
	} else if next < end {
		buffer := smallBuffers.Get().(*[]byte)
		r.buffer = (*buffer)[:0]
		defer func() {
			*buffer, r.buffer = r.buffer, nil
			smallBuffers.Put(buffer)
		}()
	}
	for i := next; i < end; i++ {
		if i&0xfff == 0 && ctx.Err() != nil {
			return true, nil
		}
		to := r.stdout
		if r.lines.stderr(i) {
			to = r.stderr
		}
		if to != nil && to != r.to {
			if err := r.flush(); err != nil {
				return false, err
			}
			r.to = to
		}
		before := len(r.buffer)
		if r.timestamps && r.lineStart {
			r.buffer = r.time(i).Add(r.ahead).AppendFormat(r.buffer, timestampFormat)
		}
		text := len(r.buffer)
		r.buffer = r.lines.appendLine(r.buffer, i)
		r.lineStart = len(r.buffer) == text || r.buffer[len(r.buffer)-1] == '\n'
		if to == nil || !r.since.IsZero() && r.time(i).Before(r.since) {
			r.buffer = r.buffer[:before]
			continue
		}
		added := int64(len(r.buffer) - before)
		if added >= r.remain {
			r.buffer = r.buffer[:int64(before)+r.remain]
			return true, r.flush()
		}
		r.remain -= added
		if len(r.buffer) >= chunk {
			if err := r.flush(); err != nil {
				return false, err
			}
		}
	}
	return false, r.flush()
}

// writeBlocks does what the method "write" does, for a generated log whose lines all go to standard output unchanged.
// Readers of the same lines share them, and writeBlocks copies nothing. It may overwrite the block scratch.
func (r *reader) writeBlocks(ctx context.Context, g *generatedLines, next, end int64, scratch *block) (bool, error) {
	keep := end-next <= keptLines
	for next < end {
		if ctx.Err() != nil {
			return true, nil
		}
		n := next / blockLines
		block := g.block(n, keep, scratch)
		first, last := next%blockLines, min(end-n*blockLines, blockLines)
		text := block.text[block.starts[first]:block.starts[last]]
		text = text[:min(int64(len(text)), r.remain)]
		r.remain -= int64(len(text))
		if _, err := r.stdout.Write(text); err != nil || r.remain == 0 {
			return true, err
		}
		next += last - first
	}
	return false, nil
}

func (r *reader) flush() error {
	if len(r.buffer) == 0 {
		return nil
	}
	_, err := r.to.Write(r.buffer)
	r.buffer = r.buffer[:0]
	return err
}

func (r *reader) flushWriters() {
	for _, w := range slices.Compact([]io.Writer{r.stdout, r.stderr}) {
		if f, ok := w.(interface{ Flush() }); ok {
			f.Flush()
		}
	}
}

// wait waits until line i is written or the run has ended. The result "more" is true if there may be further
// lines, and false if ctx is done first. The result "running" is true if the run still continues.
func (l *Log) wait(ctx context.Context, i int64) (more, running bool) {
	var written <-chan time.Time
	if i < l.lines.total() {
		timer := time.NewTimer(time.Until(l.lines.time(i)))
		defer timer.Stop()
		written = timer.C
	}
	select {
	case <-ctx.Done():
		return false, false
	case <-l.Ended():
		return true, false
	case <-written:
		return true, true
	}
}
