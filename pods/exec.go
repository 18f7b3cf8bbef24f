package pods

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	utilexec "k8s.io/utils/exec"
)

// Exec runs a command in a container that runs, or gives the answer that the scenario has for it. It returns when the
// command has ended, with an [utilexec.CodeExitError] if its exit code is not 0, or when ctx is done. A command that
// cannot be started says why on standard error, as a container runtime does, with exit code 126 or 127.
func (s *Store) Exec(ctx context.Context, namespace, name, container string, command []string, streams Streams) error {
	e, running := s.running(namespace, name, container)
	if !running {
		return errNotRunning(container)
	}
	if streams.Stdout == nil {
		streams.Stdout = io.Discard
	}
	if streams.TTY || streams.Stderr == nil {
		streams.Stderr = io.Discard
		if streams.TTY {
			streams.Stderr = streams.Stdout
		}
	}
	for _, answer := range e.containers[container].Exec {
		if len(answer.Command) == 0 || slices.Equal(answer.Command, command) {
			return answer.give(ctx, streams)
		}
	}
	fmt.Fprintf(streams.Stderr, "exec: %q: executable file not found in $PATH\n", command)
	return exited(127)
}

func (a *Answer) give(ctx context.Context, streams Streams) error {
	if a.Delay.Duration > 0 {
		timer := time.NewTimer(a.Delay.Duration)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	stdout, stderr := streams.Stdout, streams.Stderr
	if streams.TTY {
		stdout = &terminal{to: streams.Stdout}
		stderr = stdout
	}
	if _, err := io.WriteString(stdout, a.Stdout); err != nil {
		return err
	}
	if _, err := io.WriteString(stderr, a.Stderr); err != nil {
		return err
	}
	return exited(a.ExitCode)
}

// exited is the error of a command that ended with a code; none for 0.
func exited(code int) error {
	if code == 0 {
		return nil
	}
	return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
}
