//go:build !before137

package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	utilexec "k8s.io/utils/exec"

	"fauxlet/internal/pods"
)

// store has the containers. fauxlet's fake shell runs commands in them.
type store = *pods.Store

func (c *streamed) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, err io.WriteCloser, tty bool,
	resize <-chan terminalSize) error {
	namespace, name, container := names(id)
	return c.store.Exec(ctx, namespace, name, container, cmd, streams(in, out, err, tty, resize))
}

func (c *streamed) Attach(ctx context.Context, id string, in io.Reader, out, err io.WriteCloser, tty bool,
	resize <-chan terminalSize) error {
	namespace, name, container := names(id)
	return c.store.Attach(ctx, namespace, name, container, streams(in, out, err, tty, resize))
}

func (c *streamed) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	namespace, name, _ := names(id + "/")
	return c.store.PortForward(ctx, namespace, name, port, stream)
}

func streams(in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan terminalSize) pods.Streams {
	s := pods.Streams{Stdin: in, Stdout: out, Stderr: err, TTY: tty}
	if resize != nil {
		sizes := make(chan pods.Size)
		s.Resize = sizes
		go func() {
			defer close(sizes)
			for size := range resize {
				sizes <- pods.Size(size)
			}
		}()
	}
	return s
}

// execSync runs a command and waits for its end. (k8s.io/cri-client, ExecSync; kuberuntime, RunInContainer)
func (c *streamed) execSync(ctx context.Context, id string, cmd []string) ([]byte, error) {
	namespace, name, container := names(id)
	var stdout, stderr strings.Builder
	err := c.store.Exec(ctx, namespace, name, container, cmd, pods.Streams{Stdout: &stdout, Stderr: &stderr})
	if exit, ok := err.(utilexec.ExitError); ok {
		err = utilexec.CodeExitError{
			Err: fmt.Errorf("command '%s' exited with %d: %s", strings.Join(cmd, " "), exit.ExitStatus(),
				stderr.String()),
			Code: exit.ExitStatus(),
		}
	}
	var output []byte
	return append(append(output, stdout.String()...), stderr.String()...), err
}
