package shell

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// session is one call of Run with everything that it starts.
type session struct {
	container *Container
	ctx       context.Context
	cancel    context.CancelCauseFunc

	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       *terminal // nil without a terminal

	lock      sync.Mutex
	over      bool
	work      sync.WaitGroup
	subshells atomic.Int32
	refused   atomic.Int32
	globs     globs
	failed    sync.Once
}

func newSession(ctx context.Context, c *Container, streams Streams) *session {
	s := &session{container: c}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	output := func(w io.Writer) io.Writer {
		if w == nil {
			return io.Discard
		}
		return &locked{to: w}
	}
	s.stdout, s.stderr = output(streams.Stdout), output(streams.Stderr)
	if streams.Stdin == nil {
		s.stdin = nothing{}
	} else {
		s.stdin = &input{session: s, from: streams.Stdin}
	}
	if streams.TTY {
		s.terminal = newTerminal(s, streams)
		s.stdin, s.stdout = s.terminal, &crlf{to: s.stdout}
		s.stderr = s.stdout
	}
	s.stderr = &complaints{ctx: s.ctx, to: s.stderr}
	return s
}

// enter registers work that end must wait for; the caller must call work.Done. It returns false after the session has
// ended.
func (s *session) enter() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if !s.over {
		s.work.Add(1)
	}
	return !s.over
}

// end stops everything that still runs, and waits for it.
func (s *session) end() {
	s.lock.Lock()
	s.over = true
	s.lock.Unlock()
	s.cancel(context.Canceled)
	s.work.Wait()
}

// fail ends the whole command with a message and an exit code, for example 128 plus the number of a signal.
func (s *session) fail(message string, exit int) {
	s.failed.Do(func() {
		fmt.Fprintln(s.stderr, message)
		s.cancel(signal(exit - 128))
	})
}

// locked is a writer for concurrent use. It drops empty writes, which would have a meaning on a stream of frames.
type locked struct {
	lock sync.Mutex
	to   io.Writer
}

func (w *locked) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.to.Write(p)
}

// complaints passes error messages on until the context ends. Later messages, and the interpreter's message about an
// ended context, only repeat that it has ended.
type complaints struct {
	ctx context.Context
	to  io.Writer
}

func (w *complaints) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil || string(p) == context.Canceled.Error()+"\n" ||
		string(p) == context.DeadlineExceeded.Error()+"\n" {
		return len(p), nil
	}
	return w.to.Write(p)
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// input reads from a client in a goroutine of its own, which starts with the first Read. So a Read ends with the
// session even if the client's Read does not return.
type input struct {
	session *session
	from    io.Reader
	once    sync.Once
	chunks  chan []byte

	lock sync.Mutex
	rest []byte
}

func (i *input) Read(p []byte) (int, error) {
	i.lock.Lock()
	defer i.lock.Unlock()
	i.once.Do(func() {
		i.chunks = make(chan []byte)
		go i.pump()
	})
	if len(i.rest) == 0 {
		select {
		case chunk, ok := <-i.chunks:
			if !ok {
				return 0, io.EOF
			}
			i.rest = chunk
		case <-i.session.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(p, i.rest)
	i.rest = i.rest[n:]
	return n, nil
}

func (i *input) pump() {
	defer close(i.chunks)
	for {
		buffer := make([]byte, 32<<10)
		n, err := i.from.Read(buffer)
		if n > 0 {
			select {
			case i.chunks <- buffer[:n]:
			case <-i.session.ctx.Done():
				return
			}
		}
		if err != nil || i.session.ctx.Err() != nil {
			return
		}
	}
}
