package main

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// streamed is the container runtime for exec, attach and port-forward. It serves streams on a separate port, with
// the streaming library that container runtimes use.
type streamed struct {
	store  store
	server streamingServer
}

func newStreamed(store store) (*streamed, error) {
	c := &streamed{store: store}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	base := &url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/"}
	if c.server, err = newStreamingServer(base, c); err != nil {
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

func (c *streamed) execURL(id string, cmd []string, o execOptions) (*url.URL, error) {
	response, err := c.server.GetExec(&runtimeapi.ExecRequest{ContainerId: id, Cmd: cmd, Stdin: o.Stdin,
		Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}

func (c *streamed) attachURL(id string, o execOptions) (*url.URL, error) {
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
