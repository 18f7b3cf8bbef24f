package pods

import (
	"context"
	"fmt"
	"io"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
	"fauxlet/internal/shell"
)

// Streams are what a command, or a container that is attached to, is connected with. Stdin, Stdout and Stderr are nil
// where they were not asked for. On a terminal there is no Stderr, and Resize tells its size.
type Streams = shell.Streams

// Size is that of a terminal.
type Size = shell.Size

// running finds a container that runs, as a container runtime does: by the names of pod and container.
func (s *Store) running(namespace, name, container string) (*entry, bool) {
	e, found := s.entry(namespace, name)
	if !found || !isRunning(podlife.ContainerStatus(e.pod, container)) {
		return nil, false
	}
	return e, true
}

// IsRunning says whether the pod has such a container, of any kind, and it runs.
func (s *Store) IsRunning(namespace, name, container string) bool {
	_, running := s.running(namespace, name, container)
	return running
}

// Attach connects streams with a container: what its log says from now on, and what is written to it, which comes back
// as from a program that repeats its input. It returns when ctx is done, or the container ends; and, where the container's stdin is for one
// client alone (stdinOnce), at the end of the input.
func (s *Store) Attach(ctx context.Context, namespace, name, container string, streams Streams) error {
	e, running := s.running(namespace, name, container)
	if !running {
		return errNotRunning(container)
	}
	ctx, cancel := e.of(container).whileIn(ctx)
	defer cancel()
	// Either is nil where it was not asked for, and both are one on a terminal.
	var stdout, stderr io.Writer
	switch {
	case streams.Stdout != nil && streams.TTY:
		stdout = &locked{to: &terminal{to: streams.Stdout}}
		stderr = stdout
	case streams.Stdout != nil:
		stdout = &locked{to: streams.Stdout}
	}
	if streams.Stderr != nil && !streams.TTY {
		stderr = &locked{to: streams.Stderr}
	}
	if streams.Stdin != nil {
		echo := stdout
		if echo == nil {
			echo = io.Discard
		}
		go func() {
			_, _ = io.Copy(echo, streams.Stdin)
			if c := podlife.ContainerSpec(e.pod, container); c != nil && c.StdinOnce {
				cancel()
			}
		}()
	}
	if streams.Resize != nil {
		go func() {
			for range streams.Resize { // nothing here has a width
			}
		}()
	}
	none := int64(0)
	options := &v1.PodLogOptions{Follow: true, TailLines: &none}
	failed := s.Logs(ctx, namespace, name, container, options, stdout, stderr)
	if failed == nil && ctx.Err() == nil {
		// A log that has ended: the container goes on, and says nothing.
		<-ctx.Done()
	}
	return failed
}

// HasTTY says whether the spec of a container, of any kind, wants a terminal.
func HasTTY(pod *v1.Pod, name string) bool {
	c := podlife.ContainerSpec(pod, name)
	return c != nil && c.TTY
}

func errNotRunning(container string) error { return fmt.Errorf("container not found (%q)", container) }
