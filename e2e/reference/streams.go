package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"fauxlet/internal/pods"
)

// streamed is the container runtime for exec, attach and port-forward. It serves streams on a separate port, with
// the streaming library that container runtimes use. fauxlet's fake shell runs the commands.
type streamed struct {
	store  *pods.Store
	server streaming.Server
}

func newStreamed(store *pods.Store) (*streamed, error) {
	c := &streamed{store: store}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/"}
	if c.server, err = streaming.NewServer(config, c); err != nil {
		return nil, err
	}
	go func() { _ = http.Serve(listener, c.server) }()
	return c, nil
}

// id returns the ID that the container runtime uses for a container.
func (c *streamed) id(podFullName, container string) (string, bool) {
	name, namespace, _ := strings.Cut(podFullName, "_")
	return namespace + "/" + name + "/" + container, c.store.IsRunning(namespace, name, container)
}

func names(id string) (namespace, name, container string) {
	parts := strings.SplitN(id, "/", 3)
	return parts[0], parts[1], parts[2]
}

func (c *streamed) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, err io.WriteCloser, tty bool,
	resize <-chan remotecommand.TerminalSize) error {
	namespace, name, container := names(id)
	return c.store.Exec(ctx, namespace, name, container, cmd, streams(in, out, err, tty, resize))
}

func (c *streamed) Attach(ctx context.Context, id string, in io.Reader, out, err io.WriteCloser, tty bool,
	resize <-chan remotecommand.TerminalSize) error {
	namespace, name, container := names(id)
	return c.store.Attach(ctx, namespace, name, container, streams(in, out, err, tty, resize))
}

func (c *streamed) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	namespace, name, _ := names(id + "/")
	return c.store.PortForward(ctx, namespace, name, port, stream)
}

func streams(in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) pods.Streams {
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

func (c *streamed) execURL(id string, cmd []string, o remotecommand.Options) (*url.URL, error) {
	response, err := c.server.GetExec(&runtimeapi.ExecRequest{ContainerId: id, Cmd: cmd, Stdin: o.Stdin,
		Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}

func (c *streamed) attachURL(id string, o remotecommand.Options) (*url.URL, error) {
	response, err := c.server.GetAttach(&runtimeapi.AttachRequest{ContainerId: id, Stdin: o.Stdin, Stdout: o.Stdout,
		Stderr: o.Stderr, Tty: o.TTY})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}

func (c *streamed) portForwardURL(namespace, name string, ports []int32) (*url.URL, error) {
	response, err := c.server.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: namespace + "/" + name,
		Port: ports})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}
