package pods

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	utilexec "k8s.io/utils/exec"
)

// Executor makes the environments in which the commands of exec requests run.
type Executor interface {
	// NewEnvironment makes the environment for one run of a container. Errors name the field of the config.
	NewEnvironment(config ContainerConfig) (Environment, error)
}

// Environment is what commands see in a container, such as its files. It is safe for concurrent use.
type Environment interface {
	// Run runs a command without a shell and returns its exit code. The error is a [*StartError] if the command
	// cannot be started, or ctx.Err() if ctx is done before the command has ended. Run returns after a write in
	// progress has ended.
	Run(ctx context.Context, command []string, streams Streams) (exitCode int, err error)
}

// Streams are the streams of a command or of an attached container. A stream that the client did not request is nil.
// With TTY, all output goes to Stdout, and Resize delivers the sizes of the client's terminal. Resize need not be read.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool
	Resize         <-chan Size
}

// forTerminal returns the streams, with line ends converted as by a terminal if TTY is set.
func (s Streams) forTerminal() Streams {
	if s.TTY && s.Stdout != nil {
		s.Stdout = &terminal{to: s.Stdout}
		s.Stderr = s.Stdout
	}
	return s
}

// untilEnd returns the streams with writers that work until the function "end" is called. From then on every write
// fails. So a command that still waits for its input can write nothing more to the client. The function "end" waits for
// a write in progress.
func (s Streams) untilEnd() (_ Streams, end func()) {
	if s.Stdout == nil {
		s.Stdout = io.Discard
	}
	if s.Stderr == nil {
		s.Stderr = io.Discard
	}
	stdout, stderr := &lockedWriter{to: s.Stdout}, &lockedWriter{to: s.Stderr}
	s.Stdout, s.Stderr = stdout, stderr
	if s.TTY {
		s.Stderr = stdout
	}
	return s, func() {
		stdout.close()
		stderr.close()
	}
}

// Size is the size of a terminal, in characters.
type Size struct{ Width, Height uint16 }

// StartError is the error of a command that could not be started, with the message of runc, which containerd and the
// docker engine pass on. Containerd puts `failed to exec in container: failed to start exec "<id>": ` before the
// message, and the client gets an internal error without an exit code. cri-dockerd writes the message as output and
// returns Code as the exit code. Code is 126 or 127, as in a shell.
type StartError struct {
	Text string
	Code int
}

func (e *StartError) Error() string { return e.Text }

// Exec runs a command in a running container, or returns the scenario's scripted answer to the command. It returns when
// the command has ended or ctx is done, but only after a write in progress has ended. An exit code other than 0 becomes
// a [utilexec.CodeExitError]. If the command cannot be started, Exec writes the reason to standard error, as
// cri-dockerd does.
func (s *Store) Exec(ctx context.Context, namespace, name, container string, command []string, streams Streams) error {
	e, running := s.running(namespace, name, container)
	if !running {
		return errNotRunning(container)
	}
	streams, end := streams.untilEnd()
	defer end()
	c := e.container(container)
	ctx, cancel := c.untilEnd(ctx)
	defer cancel()
	err := s.exec(ctx, e, c, command, streams)
	if c.log.HasEnded() {
		return exitError(killedCode)
	}
	return err
}

// killedCode is the exit code of a command that is killed because its container ends.
const killedCode = 137

func (s *Store) exec(ctx context.Context, e *entry, c *container, command []string, streams Streams) error {
	for _, answer := range c.described.Exec {
		if len(answer.Command) == 0 || slices.Equal(answer.Command, command) {
			if err := sleep(ctx, answer.Delay.Duration); err != nil {
				return err
			}
			return writeResult(streams, answer.Stdout, answer.Stderr, answer.ExitCode)
		}
	}
	environment, err := s.environment(e, c)
	if err != nil {
		return err
	}
	code, err := environment.Run(ctx, command, streams)
	var start *StartError
	if errors.As(err, &start) {
		return writeResult(streams, "", start.Text+"\n", start.Code)
	}
	if err != nil {
		return err
	}
	return exitError(code)
}

// writeResult writes the output of a command that does not run, and returns the error for its exit code.
func writeResult(streams Streams, stdout, stderr string, code int) error {
	streams = streams.forTerminal()
	if _, err := io.WriteString(streams.Stdout, stdout); err != nil {
		return err
	}
	if _, err := io.WriteString(streams.Stderr, stderr); err != nil {
		return err
	}
	return exitError(code)
}

// sleep waits for a duration. If ctx is done first, it returns ctx.Err().
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func exitError(code int) error {
	if code == 0 {
		return nil
	}
	return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
}

func errNotRunning(container string) error { return fmt.Errorf("container not found (%q)", container) }
