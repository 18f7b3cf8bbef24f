package check

import (
	"context"
	"io"

	"fauxlet/internal/pods"
)

// execCommand is the command of the exec checks. It tests all streams and the exit code.
var execCommand = []string{"sh", "-c", "cat; echo said >&2; exit 3"}

// execCheckExecutor runs no shell: it gives every command the result that execCommand would have.
type execCheckExecutor struct{}

func (execCheckExecutor) NewEnvironment(pods.ContainerConfig) (pods.Environment, error) {
	return execCheckExecutor{}, nil
}

func (execCheckExecutor) Run(_ context.Context, _ []string, s pods.Streams) (exitCode int, err error) {
	if s.Stdin != nil {
		if _, err := io.Copy(s.Stdout, s.Stdin); err != nil {
			return 0, err
		}
	}
	if _, err := io.WriteString(s.Stderr, "said\n"); err != nil {
		return 0, err
	}
	return 3, nil
}
