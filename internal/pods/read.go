package pods

import (
	"context"
	"fmt"
	"io"
	"math"
	"reflect"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
)

// chunk is how much is written at once. A kubelet writes, and flushes, each line by itself.
const chunk = 256 << 10

// timestampFormat is how a kubelet writes the time before a line. (k8s.io/cri-client/pkg/logs, timeFormatOut)
const timestampFormat = "2006-01-02T15:04:05.000000000Z07:00 "

// Logs writes the log of a container as options say, to stdout and stderr; either is nil if its lines are not wanted,
// and both may be the same. Errors have the words of a kubelet, which sends them with status 400.
//
// Where options.Follow is set, Logs waits for the lines to come until ctx is done, which is no error, or until the end
// of the log of a container that does not run. Before it waits it flushes a writer that has a Flush method, and at no
// other time. An error of a writer ends it.
//
// (kubelet: GetKubeletContainerLogs, validateContainerLogStatus; k8s.io/cri-client/pkg/logs, ReadLogs)
func (s *Store) Logs(ctx context.Context, namespace, name, container string, options *v1.PodLogOptions, stdout, stderr io.Writer) error {
	e, found := s.entry(namespace, name)
	if !found {
		return fmt.Errorf("pod %q cannot be found - no logs available", name)
	}
	status := podlife.ContainerStatus(e.pod, container)
	if status == nil {
		return fmt.Errorf("container %q in pod %q is not available", container, name)
	}
	if err := hasLog(status, name, options.Previous); err != nil {
		return err
	}
	c := e.of(container)
	run, running := c.run, status.State.Running != nil
	if options.Previous {
		if run = c.previous; run == nil {
			return fmt.Errorf("previous terminated container %q in pod %q not found", container, name)
		}
		running = false
	}
	if stdout != nil {
		// The kubelet's write of nothing, by which the response begins even if no line ever comes.
		if _, err := stdout.Write(nil); err != nil {
			return err
		}
	}
	r := reader{run: run, lines: run.log, options: options, out: newOutput(stdout, stderr, options.LimitBytes), newLine: true, ahead: ahead(ctx)}
	defer r.out.release()
	return r.read(ctx, time.Now(), running)
}

type aheadKey struct{}

// WithClock is ctx for logs whose times are those of a clock that is so far ahead.
func WithClock(ctx context.Context, ahead time.Duration) context.Context {
	return context.WithValue(ctx, aheadKey{}, ahead)
}

func ahead(ctx context.Context) time.Duration {
	ahead, _ := ctx.Value(aheadKey{}).(time.Duration)
	return ahead
}

// hasLog says what a kubelet says of a container that has no log to read. (validateContainerLogStatus)
func hasLog(status *v1.ContainerStatus, pod string, previous bool) error {
	state, last := status.State, status.LastTerminationState.Terminated
	ended := func(t *v1.ContainerStateTerminated) bool { return t != nil && t.ContainerID != "" }
	switch {
	case previous:
		if !ended(last) {
			return fmt.Errorf("previous terminated container %q in pod %q not found", status.Name, pod)
		}
	case state.Running != nil:
	case state.Terminated != nil, last != nil:
		if !ended(state.Terminated) && !ended(last) {
			return fmt.Errorf("container %q in pod %q is terminated", status.Name, pod)
		}
	case state.Waiting != nil:
		reason := state.Waiting.Reason
		switch reason {
		case "ErrImagePull":
			reason = "image can't be pulled"
		case "ImagePullBackOff":
			reason = "trying and failing to pull image"
		}
		return fmt.Errorf("container %q in pod %q is waiting to start: %v", status.Name, pod, reason)
	default:
		return fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", status.Name, pod)
	}
	return nil
}

// reader reads a log once.
type reader struct {
	run     *run
	lines   source
	options *v1.PodLogOptions
	out     *output
	since   time.Time
	// newLine: the line before ended with a line feed, and so this one gets a timestamp.
	newLine bool
	// ahead is how far the clock is whose times are told.
	ahead time.Duration
}

func (r *reader) read(ctx context.Context, now time.Time, running bool) error {
	if seconds := r.options.SinceSeconds; seconds != nil {
		r.since = now.Add(-secondsDuration(*seconds))
	}
	if since := r.options.SinceTime; since != nil && since.Add(-r.ahead).After(r.since) {
		r.since = since.Add(-r.ahead)
	}
	next, end := int64(0), r.run.written(now)
	if tail := r.options.TailLines; tail != nil && end > *tail {
		next = end - *tail
	}
	next = max(next, r.lines.from(r.since))

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
		r.out.push()
		var more bool
		if more, running = r.wait(ctx, next); !more {
			return nil
		}
		end = r.run.written(time.Now())
	}
}

// write writes the lines from next up to end; it says whether the limit of bytes was reached.
func (r *reader) write(ctx context.Context, next, end int64) (done bool, err error) {
	if lines, ok := r.lines.(*madeUp); ok && r.plain(lines) {
		if next, err = r.writePlain(ctx, lines, next, end); err != nil {
			return false, err
		}
	}
	for i := next; i < end; i++ {
		if i&0xfff == 0 && ctx.Err() != nil {
			return true, nil
		}
		out, err := r.out.stream(r.lines.stderr(i))
		if err != nil {
			return false, err
		}
		begin := len(r.out.buffer)
		line := r.out.buffer
		if r.options.Timestamps && r.newLine {
			line = r.lines.time(i).Add(r.ahead).AppendFormat(line, timestampFormat)
		}
		line = r.lines.appendLine(line, i)
		r.newLine = len(line) == begin || line[len(line)-1] == '\n'
		if out == nil || !r.since.IsZero() && r.lines.time(i).Before(r.since) {
			r.out.buffer = line[:begin]
			continue
		}
		if done, err := r.out.grow(line); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// plain says whether nothing is to be decided line by line: they are all of standard output, wanted, and written as they
// are.
func (r *reader) plain(lines *madeUp) bool {
	return !r.options.Timestamps && lines.stderrBelow == 0 && r.out.stdout != nil && r.since.IsZero()
}

// writePlain writes whole chunks for as long as the limit of bytes is not near, and says which line is next.
func (r *reader) writePlain(ctx context.Context, lines *madeUp, next, end int64) (int64, error) {
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

// wait waits until line i has been written, or the container has ended: it says whether there may be more lines, and
// whether the container still runs. There are none where ctx was done first.
func (r *reader) wait(ctx context.Context, i int64) (more, running bool) {
	var written <-chan time.Time
	if end, ends := r.lines.ends(); !ends || i < end {
		timer := time.NewTimer(time.Until(r.lines.time(i)))
		defer timer.Stop()
		written = timer.C
	}
	select {
	case <-ctx.Done():
		return false, false
	case <-r.run.over:
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

// buffers are chunks that no reader is using. A chunk is written when it is full, and so holds a line more.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, chunk+1<<10)
	return &b
}}

// output gathers lines into chunks, for two streams or for one, and stops at a number of bytes.
type output struct {
	stdout, stderr io.Writer
	// buffer is for to, which is one of the two.
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

// stream makes the buffer that of the stream of the next line, and gives its writer; nil if the line is not wanted.
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

// grow takes the buffer with a line more; done says that the limit is reached, and that all has been written.
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

// flush writes the chunk.
func (o *output) flush() error {
	if len(o.buffer) == 0 {
		return nil
	}
	_, err := o.to.Write(o.buffer)
	o.buffer = o.buffer[:0]
	return err
}

// release gives the chunk back. What is in it is dropped.
func (o *output) release() {
	if cap(o.buffer) <= 2*chunk {
		buffers.Put(&o.buffer)
	}
}

// push has the writers send what they hold.
func (o *output) push() {
	for _, w := range []io.Writer{o.stdout, o.stderr} {
		if f, ok := w.(interface{ Flush() }); ok {
			f.Flush()
			if o.same {
				return
			}
		}
	}
}

// sameWriter says whether both streams go to one writer. Writers that cannot be compared are taken for two.
func sameWriter(a, b io.Writer) bool {
	if a == nil || b == nil {
		return true
	}
	ta, tb := reflect.TypeOf(a), reflect.TypeOf(b)
	return ta == tb && ta.Comparable() && a == b
}
