package pods

import (
	"context"
	"io"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
)

// Attacher connects the streams of attach requests with containers.
type Attacher interface {
	// Attach connects streams with a container. It returns when ctx is done, which also happens when the container
	// ends.
	Attach(ctx context.Context, c AttachedContainer, streams Streams) error
}

// AttachedContainer is a container that runs.
type AttachedContainer struct {
	Pod  *v1.Pod
	Spec *v1.Container
	// FollowLog writes the lines that the container logs from now on, until ctx is done or the log has ended.
	FollowLog func(ctx context.Context, stdout, stderr io.Writer) error
}

// Attach connects streams with a running container through the Store's [Attacher].
//
// The default Attacher writes the lines that the container logs from now on, and echoes the input. It returns when
// ctx is done or the container ends. For a container with stdinOnce, it also returns at the end of the input.
func (s *Store) Attach(ctx context.Context, namespace, name, container string, streams Streams) error {
	e, running := s.running(namespace, name, container)
	if !running {
		return errNotRunning(container)
	}
	ctx, cancel := e.container(container).untilEnd(ctx)
	defer cancel()
	c := AttachedContainer{
		Pod: e.pod, Spec: podlife.ContainerSpec(e.pod, container),
		FollowLog: func(ctx context.Context, stdout, stderr io.Writer) error {
			options := &v1.PodLogOptions{Follow: true, TailLines: new(int64)}
			return s.Logs(ctx, namespace, name, container, options, stdout, stderr)
		},
	}
	return s.runtime.Attacher.Attach(ctx, c, streams)
}

// logAttacher is the default Attacher.
type logAttacher struct{}

func (logAttacher) Attach(ctx context.Context, c AttachedContainer, streams Streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stdout, stderr io.Writer // nil if not requested
	switch {
	case streams.Stdout != nil && streams.TTY:
		stdout = &lockedWriter{to: &terminal{to: streams.Stdout}}
		stderr = stdout
	case streams.Stdout != nil:
		stdout = &lockedWriter{to: streams.Stdout}
	}
	if streams.Stderr != nil && !streams.TTY {
		stderr = &lockedWriter{to: streams.Stderr}
	}
	if streams.Stdin != nil {
		echo := stdout
		if echo == nil {
			echo = io.Discard
		}
		go func() {
			_, _ = io.Copy(echo, streams.Stdin)
			if c.Spec.StdinOnce {
				cancel()
			}
		}()
	}
	if streams.Resize != nil {
		go func() {
			for range streams.Resize { // the width of the terminal has no effect
			}
		}()
	}
	err := c.FollowLog(ctx, stdout, stderr)
	if err == nil && ctx.Err() == nil {
		<-ctx.Done() // the log has ended, but the container still runs
	}
	return err
}
