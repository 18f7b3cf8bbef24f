package pods

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/oneconn"
	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

// PortForwarder connects forwarded streams with the ports of pods.
type PortForwarder interface {
	// PortForward connects stream with a port until the client or the port closes its connection, or ctx is done.
	// Then it closes stream.
	PortForward(ctx context.Context, pod ForwardedPod, port int32, stream io.ReadWriteCloser) error
}

// ForwardedPod is a pod to whose ports streams are forwarded.
type ForwardedPod struct {
	scenario.Pod
	// Connections counts the connections to the pod's ports.
	Connections *atomic.Int64
}

// PortForward connects stream with a port of a pod through the Store's [PortForwarder].
//
// The default PortForwarder answers HTTP requests to a port of one of the containers with a page that names the pod
// and the port, or forwards the port to the address in the scenario. It refuses connections to other ports with the
// error of a container runtime. A pod without any port answers on every port.
func (s *Store) PortForward(ctx context.Context, namespace, name string, port int32, stream io.ReadWriteCloser) error {
	e, found := s.entry(namespace, name)
	if !found {
		return fmt.Errorf("pod not found (%q)", name+"_"+namespace)
	}
	pod := ForwardedPod{Pod: scenario.Pod{Pod: e.pod, Containers: e.described}, Connections: e.connections}
	return s.runtime.PortForwarder.PortForward(ctx, pod, port, stream)
}

// pageForwarder is the default PortForwarder.
type pageForwarder struct{}

func (pageForwarder) PortForward(ctx context.Context, pod ForwardedPod, port int32, stream io.ReadWriteCloser) error {
	forward, listens := findPort(&pod.Pod, port)
	if !listens {
		// (containerd: internal/cri/server/sandbox_portforward_linux.go)
		return fmt.Errorf("failed to execute portforward in network namespace %q: failed to connect to "+
			"localhost:%d inside namespace %q, IPv4: dial tcp4 127.0.0.1:%d: connect: connection refused IPv6 dial "+
			"tcp6 [::1]:%d: connect: connection refused ",
			"/var/run/netns/"+string(pod.Pod.Pod.UID), port, pod.Pod.Pod.UID, port, port)
	}
	if forward != "" {
		return splice(ctx, stream, forward)
	}
	number := pod.Connections.Add(1)
	meta := &pod.Pod.Pod.ObjectMeta
	oneconn.Serve(ctx, newStreamConn(stream), &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			fmt.Fprintf(w, "pod %s/%s\nport %d\nconnection %d\n%s %s\n",
				meta.Namespace, meta.Name, port, number, r.Method, r.URL.RequestURI())
		}),
	})
	return nil
}

// findPort reports whether a pod listens on a port, and the address to which the port is forwarded, if any.
func findPort(pod *scenario.Pod, port int32) (forward string, listens bool) {
	hasPorts := false
	for _, name := range podlife.ContainerNames(pod.Pod) {
		for _, p := range pod.Containers[name].Ports {
			hasPorts = true
			if p.Port == port {
				return p.Forward, true
			}
		}
	}
	for _, c := range slices.Concat(pod.Pod.Spec.InitContainers, pod.Pod.Spec.Containers) {
		for _, p := range c.Ports {
			if p.Protocol != "" && p.Protocol != v1.ProtocolTCP {
				continue
			}
			hasPorts = true
			if p.ContainerPort == port {
				return "", true
			}
		}
	}
	return "", !hasPorts
}

// splice copies data in both directions between stream and an address. When one direction ends, the opposite
// direction continues.
func splice(ctx context.Context, stream io.ReadWriteCloser, address string) error {
	defer stream.Close()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("failed to connect to %s: %w", address, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
		sent <- err
	}()
	if _, err := io.Copy(stream, conn); err != nil {
		return err
	}
	stream.Close() // the client gets no more data, but data from the client is still copied
	select {
	case err = <-sent:
	case <-ctx.Done():
	}
	return err
}

// streamConn turns a stream into a net.Conn. It reads through a pipe that supports deadlines, because an HTTP server
// interrupts a blocked read by a deadline.
type streamConn struct {
	net.Conn
	stream io.ReadWriteCloser
}

func newStreamConn(stream io.ReadWriteCloser) *streamConn {
	read, fed := net.Pipe()
	go func() {
		_, _ = io.Copy(fed, stream)
		fed.Close()
	}()
	return &streamConn{read, stream}
}

func (c *streamConn) Write(p []byte) (int, error) { return c.stream.Write(p) }

func (c *streamConn) Close() error {
	c.Conn.Close()
	return c.stream.Close()
}
