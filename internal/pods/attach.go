package pods

import (
	"context"
	"io"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
)

// Attach connects streams with a running container. It writes the lines that the container logs from now on, and echoes
// the input. It returns when ctx is done, when the container ends or, with stdinOnce, at the end of the input, but only
// after a write in progress has ended.
func (s *Store) Attach(ctx context.Context, namespace, name, container string, streams Streams) error {
	e, running := s.running(namespace, name, container)
	if !running {
		return errNotRunning(container)
	}
	ctx, cancel := e.container(container).untilEnd(ctx)
	defer cancel()
	streams = streams.forTerminal()
	var stdout, stderr io.Writer // nil if the client did not request the stream
	echo := io.Discard
	if streams.Stdout != nil {
		w := &lockedWriter{to: streams.Stdout}
		defer w.close() // the echo of later input is dropped
		stdout, echo = w, w
	}
	if streams.TTY {
		stderr = stdout
	} else if streams.Stderr != nil {
		stderr = &lockedWriter{to: streams.Stderr}
	}
	if streams.Stdin != nil {
		go func() {
			_, _ = io.Copy(echo, streams.Stdin)
			if podlife.ContainerSpec(e.pod, container).StdinOnce {
				cancel()
			}
		}()
	}
	options := &v1.PodLogOptions{Follow: true, TailLines: new(int64)}
	if err := s.Logs(ctx, namespace, name, container, options, stdout, stderr); err != nil {
		return err
	}
	<-ctx.Done() // wait for the end of the container, because its log may end earlier
	return nil
}
