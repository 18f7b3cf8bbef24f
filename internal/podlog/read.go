package podlog

import (
	"context"
	"io"
	"math"
	"time"

	v1 "k8s.io/api/core/v1"
)

// timestampFormat is the format of the time before a line. (k8s.io/cri-client/pkg/logs, timeFormatOut)
const timestampFormat = "2006-01-02T15:04:05.000000000Z07:00 "

type clockSkewKey struct{}

// WithClock returns a context for [Log.Read]. It shifts the timestamps of lines as if the node's clock were ahead of
// this machine's clock.
func WithClock(ctx context.Context, ahead time.Duration) context.Context {
	return context.WithValue(ctx, clockSkewKey{}, ahead)
}

func clockSkew(ctx context.Context) time.Duration {
	ahead, _ := ctx.Value(clockSkewKey{}).(time.Duration)
	return ahead
}

// Read writes the lines that the options select to stdout and stderr. A nil writer drops the lines of its stream,
// and both may be the same writer. running reports whether the container runs, so that more lines may come.
//
// With options.Follow, Read waits for further lines until ctx is done, which is not an error, or until the log has
// ended. Before it waits, and at no other time, it flushes writers that have a Flush method. Read returns the errors
// of writers. (k8s.io/cri-client/pkg/logs, ReadLogs)
func (l *Log) Read(ctx context.Context, options *v1.PodLogOptions, running bool, stdout, stderr io.Writer) error {
	if stdout != nil {
		// Like the kubelet, make an empty write, so that the response begins even if the log never gets a line.
		if _, err := stdout.Write(nil); err != nil {
			return err
		}
	}
	r := reader{
		log: l, options: options, out: newOutput(stdout, stderr, options.LimitBytes), lineStart: true,
		ahead: clockSkew(ctx),
	}
	defer r.out.release()
	return r.read(ctx, time.Now(), running)
}

// reader is the state of one call of Read.
type reader struct {
	log     *Log
	options *v1.PodLogOptions
	out     *output
	since   time.Time
	// lineStart is set if the previous line ended with a line feed. The next line then begins with a timestamp.
	lineStart bool
	// ahead is the difference between the clock for timestamps and this machine's clock.
	ahead time.Duration
}

func (r *reader) read(ctx context.Context, now time.Time, running bool) error {
	if seconds := r.options.SinceSeconds; seconds != nil {
		r.since = now.Add(-secondsDuration(*seconds))
	}
	if since := r.options.SinceTime; since != nil && since.Add(-r.ahead).After(r.since) {
		r.since = since.Add(-r.ahead)
	}
	next, end := int64(0), r.log.written(now)
	if tail := r.options.TailLines; tail != nil && end > *tail {
		next = end - *tail
	}
	next = max(next, r.log.lines.from(r.since))

	for {
		if done, err := r.write(ctx, next, end); done || err != nil {
			return err
		}
		next = max(next, end)
		if err := r.out.flush(); err != nil {
			return err
		}
		if !r.options.Follow || !running {
			return nil
		}
		r.out.flushWriters()
		var more bool
		if more, running = r.wait(ctx, next); !more {
			return nil
		}
		end = r.log.written(time.Now())
	}
}

// write writes the lines from next up to end. done reports that the limit of bytes is reached or that ctx is done.
func (r *reader) write(ctx context.Context, next, end int64) (done bool, err error) {
	if lines, ok := r.log.lines.(*generatedLines); ok && r.isPlain(lines) {
		if next, err = r.writePlain(ctx, lines, next, end); err != nil {
			return false, err
		}
	}
	for i := next; i < end; i++ {
		if i&0xfff == 0 && ctx.Err() != nil {
			return true, nil
		}
		to, err := r.out.stream(r.log.lines.stderr(i))
		if err != nil {
			return false, err
		}
		begin := len(r.out.buffer)
		line := r.out.buffer
		if r.options.Timestamps && r.lineStart {
			line = r.log.lines.time(i).Add(r.ahead).AppendFormat(line, timestampFormat)
		}
		line = r.log.lines.appendLine(line, i)
		r.lineStart = len(line) == begin || line[len(line)-1] == '\n'
		if to == nil || !r.since.IsZero() && r.log.lines.time(i).Before(r.since) {
			r.out.buffer = line[:begin]
			continue
		}
		if done, err := r.out.grow(line); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// isPlain reports whether all lines go to standard output unchanged, so that they need not be examined one by one.
func (r *reader) isPlain(lines *generatedLines) bool {
	return !r.options.Timestamps && lines.stderrBelow == 0 && r.out.stdout != nil && r.since.IsZero()
}

// writePlain writes whole chunks while the limit of bytes is not near. It returns the number of the next line to
// write.
func (r *reader) writePlain(ctx context.Context, lines *generatedLines, next, end int64) (int64, error) {
	if _, err := r.out.stream(false); err != nil {
		return next, err
	}
	for next < end && r.out.remain > 2*chunk && ctx.Err() == nil {
		buffer, after := lines.appendLines(r.out.buffer, next, end, chunk)
		if _, err := r.out.grow(buffer); err != nil {
			return next, err
		}
		next = after
	}
	return next, nil
}

// wait waits until line i is written or the run has ended. more reports whether there may be further lines; it is
// false if ctx is done first. running reports whether the run still continues.
func (r *reader) wait(ctx context.Context, i int64) (more, running bool) {
	var written <-chan time.Time
	if end, ends := r.log.lines.end(); !ends || i < end {
		timer := time.NewTimer(time.Until(r.log.lines.time(i)))
		defer timer.Stop()
		written = timer.C
	}
	select {
	case <-ctx.Done():
		return false, false
	case <-r.log.Ended():
		return true, false
	case <-written:
		return true, true
	}
}

func secondsDuration(seconds int64) time.Duration {
	if seconds > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(seconds) * time.Second
}
