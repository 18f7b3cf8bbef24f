package pods

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/oneconn"
)

// PortForward connects stream with a port of a pod until either side has ended or ctx is done, and closes it. The port is
// one of its containers': it answers HTTP with a page that says what was reached, or is forwarded to the address that was
// given for it. Another port refuses the connection, in the words of a container runtime; a pod that has no port at all
// answers on each.
func (s *Store) PortForward(ctx context.Context, namespace, name string, port int32, stream io.ReadWriteCloser) error {
	e, found := s.entry(namespace, name)
	if !found {
		return fmt.Errorf("pod not found (%q)", name+"_"+namespace)
	}
	forward, listens := e.port(port)
	if !listens {
		// (containerd: internal/cri/server/sandbox_portforward_linux.go)
		return fmt.Errorf("failed to execute portforward in network namespace %q: failed to connect to localhost:%d inside namespace %q, IPv4: dial tcp4 127.0.0.1:%d: connect: connection refused IPv6 dial tcp6 [::1]:%d: connect: connection refused ",
			"/var/run/netns/"+string(e.pod.UID), port, e.pod.UID, port, port)
	}
	if forward != "" {
		return splice(ctx, stream, forward)
	}
	number := e.connections.Add(1)
	oneconn.Serve(ctx, newStreamConn(stream), &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			fmt.Fprintf(w, "pod %s/%s\nport %d\nconnection %d\n%s %s\n", namespace, name, port, number, r.Method, r.URL.RequestURI())
		}),
	})
	return nil
}

// port says whether something listens on a port of the pod, and where it is forwarded to.
func (e *entry) port(port int32) (forward string, listens bool) {
	any := true
	for _, container := range e.containers {
		for _, p := range container.is.Ports {
			any = false
			if p.Port == port {
				return p.Forward, true
			}
		}
	}
	for _, c := range slices.Concat(e.pod.Spec.InitContainers, e.pod.Spec.Containers) {
		for _, p := range c.Ports {
			if p.Protocol != "" && p.Protocol != v1.ProtocolTCP {
				continue
			}
			any = false
			if p.ContainerPort == port {
				return "", true
			}
		}
	}
	return "", any
}

// splice copies both ways between stream and an address, and passes on the end of either direction by itself.
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
	stream.Close() // says that there is no more to come; what the client still sends is let through
	select {
	case err = <-sent:
	case <-ctx.Done():
	}
	return err
}

// streamConn is a net.Conn of a stream. It reads through a pipe, which has the deadlines by which a server ends a read that
// waits.
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
