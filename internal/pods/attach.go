package pods

import (
	"context"
	"errors"
	"io"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/internal/podlife"
)

// Attach connects streams with a running container. It returns when ctx is done or when the container ends, but only
// after a write in progress has ended.
//
// If the container has stdin and the client sends input, Attach runs the command of the container, or a shell if the
// container has no command. Each call of Attach runs the command again from its beginning. When the command has ended,
// its exit code is the exit code of the container; see [Store.OnExit]. What happens when the client's input ends
// depends on the container. If it has stdinOnce and no terminal, the command reads the end of its input. Otherwise
// Attach returns, and the container continues to run. (containerd: internal/cri/io, ContainerIO.Attach)
//
// If the container has no stdin, if the client sends no input, or if the environment does not have the command, Attach
// writes the lines that the container logs from now on, and echoes the input. With stdinOnce it returns at the end of
// the input. If the command cannot be started for another reason, for example because too many commands run, Attach
// writes the reason to standard error and returns an error, and the container continues to run.
func (s *Store) Attach(ctx context.Context, namespace, name, container string, streams Streams) error {
	e, running := s.running(namespace, name, container)
	if !running {
		return errNotRunning(container)
	}
	c, spec := e.container(container), podlife.ContainerSpec(e.pod, container)
	ctx, cancel := c.untilEnd(ctx)
	defer cancel()
	if spec.Stdin && streams.Stdin != nil {
		code, err := s.runProcess(ctx, e, c, spec, streams)
		if _, notFound := errors.AsType[*StartError](err); !notFound {
			if err == nil {
				s.exited(e, c, code)
			}
			if errors.Is(err, context.Canceled) { // the client has left, or the container has ended
				return nil
			}
			return err
		}
	}
	streams, end := streams.forTerminal().untilEnd()
	defer end() // the echo of later input is dropped
	if streams.Stdin != nil {
		go func() {
			_, _ = io.Copy(streams.Stdout, streams.Stdin)
			if !spec.StdinOnce {
				return
			}
			if spec.Stdin && !spec.TTY {
				s.exited(e, c, 0)
			}
			cancel()
		}()
	}
	options := &v1.PodLogOptions{Follow: true, TailLines: new(int64)}
	if err := s.Logs(ctx, namespace, name, container, options, streams.Stdout, streams.Stderr); err != nil {
		return err
	}
	<-ctx.Done() // wait for the end of the container, because its log may end earlier
	return nil
}

// runProcess runs the command of a container with stdin, and returns its exit code. The error is a [*StartError] if the
// environment does not have the command.
func (s *Store) runProcess(ctx context.Context, e *entry, c *container, spec *v1.Container,
	streams Streams) (code int, err error) {
	environment, err := s.environment(e, c)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !spec.StdinOnce || spec.TTY {
		streams.Stdin = &lastInput{streams.Stdin, cancel}
	}
	streams, end := streams.untilEnd()
	defer end()
	command := []string{"sh"}
	if len(spec.Command)+len(spec.Args) > 0 {
		command = s.variables(ctx, e, c).expandAll(slices.Concat(spec.Command, spec.Args))
	}
	code, err = environment.Run(ctx, command, streams)
	if start, ok := errors.AsType[*StartError](err); ok && start.Code != notFoundCode {
		err = writeResult(streams, "", start.Text+"\n", start.Code)
	}
	return code, err
}

// notFoundCode is the Code of a [StartError] if the environment does not have the command.
const notFoundCode = 127

// lastInput is an input that calls a function when it ends.
type lastInput struct {
	io.Reader
	ended func()
}

func (l *lastInput) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err != nil {
		l.ended()
	}
	return n, err
}

// exited records the exit code of a container's current run. Later calls for the same run do nothing, because the
// container ends with the first command that ends.
func (s *Store) exited(e *entry, c *container, code int) {
	if !c.exit.CompareAndSwap(nil, new(int32(code))) {
		return
	}
	s.mu.RLock()
	onExit := s.onExit
	s.mu.RUnlock()
	if onExit != nil {
		onExit(keyOf(e.pod))
	}
}

// OnExit sets a function that the Store calls when the command of an attached container has ended. The Store does not
// change the status of the pod: the owner of the pod must Put a status that contains the exit code from [Store.Exits].
func (s *Store) OnExit(call func(types.NamespacedName)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onExit = call
}

// Exits returns the exit codes of the commands of attached containers that have ended, by container ID.
func (s *Store) Exits(namespace, name string) map[string]int32 {
	e := s.used(namespace, name)
	if e == nil {
		return nil
	}
	exits := map[string]int32{}
	for _, c := range e.containers {
		if code := c.exit.Load(); code != nil {
			exits[c.id] = *code
		}
	}
	return exits
}
