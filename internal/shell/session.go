package shell

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"fauxlet/internal/pods"
)

// session is one call of Run, with all subshells and background commands that it starts.
type session struct {
	container *container
	ctx       context.Context
	cancel    context.CancelCauseFunc

	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       *terminal // nil without a terminal

	cpu       atomic.Int64 // the CPU time that commands have used
	held      atomic.Int64 // the memory that commands and shells have taken
	lock      sync.Mutex
	over      bool
	subshells int
	work      sync.WaitGroup
	failed    sync.Once
}

func newSession(ctx context.Context, c *container, streams pods.Streams) *session {
	s := &session{container: c, stdin: nothing{}}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	output := func(w io.Writer) io.Writer {
		if w == nil {
			return io.Discard
		}
		return &locked{to: w}
	}
	s.stdout, s.stderr = output(streams.Stdout), output(streams.Stderr)
	switch {
	case streams.TTY:
		s.terminal = newTerminal(s, streams)
		s.stdin, s.stdout = s.terminal, &crlf{to: s.stdout}
		s.stderr = s.stdout
	case streams.Stdin != nil:
		s.stdin = &input{session: s, from: streams.Stdin}
	}
	return s
}

// spawn runs a function in a goroutine, for a subshell. If the session is over or has too many subshells, spawn ends
// the session and returns false.
func (s *session) spawn(do func()) bool {
	if !s.take(routineMemory) {
		return false
	}
	s.lock.Lock()
	allowed := !s.over && s.subshells < maxSubshells
	if allowed {
		s.subshells++
		s.work.Go(func() {
			defer s.give(routineMemory)
			defer func() {
				if failure := recover(); failure != nil {
					fmt.Fprintf(s.stderr, "sh: internal error: %v\n", failure)
				}
				s.lock.Lock()
				s.subshells--
				s.lock.Unlock()
			}()
			do()
		})
	}
	s.lock.Unlock()
	if !allowed {
		s.give(routineMemory)
		s.fail("sh: can't fork: Resource temporarily unavailable", 2)
	}
	return allowed
}

// The method "end" stops the subshells and background commands that still run, and waits until they have ended.
func (s *session) end() {
	s.lock.Lock()
	s.over = true
	s.lock.Unlock()
	s.cancel(context.Canceled)
	s.work.Wait()
	s.give(int(s.held.Load()))
}

// fail ends the whole command with a message and an exit code, for example 128 plus the number of a signal.
func (s *session) fail(message string, exit int) {
	s.failed.Do(func() {
		fmt.Fprintln(s.stderr, message)
		s.cancel(signal(exit - 128))
	})
}

// locked is a writer for concurrent use. It drops empty writes, which would send empty frames to the client. It writes
// in pieces, because a frame of SPDY has a maximum size.
type locked struct {
	lock sync.Mutex
	to   io.Writer
}

func (w *locked) Write(p []byte) (int, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	written := 0
	for piece := range slices.Chunk(p, maxWrite) {
		n, err := w.to.Write(piece)
		if written += n; err != nil {
			return written, err
		}
	}
	return written, nil
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }

// input reads from a client in a separate goroutine. Its method Read therefore returns when the session ends, even if
// the goroutine still waits for the client.
type input struct {
	session *session
	from    io.Reader
	once    sync.Once
	pipe    *io.PipeReader
}

func (i *input) Read(p []byte) (int, error) {
	i.once.Do(func() {
		var to *io.PipeWriter
		i.pipe, to = io.Pipe()
		context.AfterFunc(i.session.ctx, func() { _ = i.pipe.Close() })
		go func() {
			_, _ = io.Copy(to, i.from)
			_ = to.Close()
		}()
	})
	n, err := i.pipe.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
