package pods

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/oneconn"
	"fauxlet/internal/podlife"
)

// PortForward connects stream with a port of a pod. The connection ends when the client or the port closes it, or when
// ctx is done. PortForward then closes stream.
//
// A port of one of the containers answers HTTP requests with a page that names the pod and the port. If the scenario
// has an address for the port, the connection is forwarded to that address instead. Connections to other ports are
// refused with the error of a container runtime. If none of the containers has a port, every port answers.
func (s *Store) PortForward(ctx context.Context, namespace, name string, port int32, stream io.ReadWriteCloser) error {
	e, found := s.entry(namespace, name)
	if !found {
		return fmt.Errorf("pod not found (%q)", name+"_"+namespace)
	}
	// Read the rest of the data from the client, because all streams of a client share a connection, which blocks while
	// data of one stream is unread. The goroutine ends when the client closes the stream.
	defer func() { go io.Copy(io.Discard, stream) }()
	forward, listens := e.findPort(port)
	if !listens { // return the error of containerd: internal/cri/server/sandbox_portforward_linux.go
		return fmt.Errorf("failed to execute portforward in network namespace %q: failed to connect to "+
			"localhost:%d inside namespace %q, IPv4: dial tcp4 127.0.0.1:%d: connect: connection refused IPv6 dial "+
			"tcp6 [::1]:%d: connect: connection refused ",
			"/var/run/netns/"+string(e.pod.UID), port, e.pod.UID, port, port)
	}
	if forward != "" {
		return splice(ctx, stream, forward)
	}
	number := e.state.connections.Add(1)
	servePages(ctx, stream, func(r *http.Request) string {
		return fmt.Sprintf("pod %s/%s\nport %d\nconnection %d\n%s %s\n", namespace, name, port, number, r.Method,
			r.URL.RequestURI())
	})
	return nil
}

// servePages answers each HTTP request on stream with a page. It closes stream when the client sends something else,
// when no whole request comes within a minute, or when ctx is done.
func servePages(ctx context.Context, stream io.ReadWriteCloser, page func(*http.Request) string) {
	input, fed := net.Pipe() // a pipe has read deadlines, but stream has none
	go func() {
		_, _ = io.Copy(fed, stream)
		fed.Close()
	}()
	handle := func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, page(r))
	}
	oneconn.Serve(ctx, &streamConn{input, stream}, &http.Server{Handler: http.HandlerFunc(handle),
		ReadTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)})
}

// streamConn is a connection that reads from one end of a pipe and writes to a stream.
type streamConn struct {
	net.Conn
	stream io.WriteCloser
}

func (c *streamConn) Write(p []byte) (int, error) { return c.stream.Write(p) }

func (c *streamConn) Close() error { return errors.Join(c.stream.Close(), c.Conn.Close()) }

// findPort returns whether the pod listens on a port. If the scenario forwards the port, the result "forward" is the
// address to which it is forwarded.
func (e *entry) findPort(port int32) (forward string, listens bool) {
	listens = true
	for _, c := range e.containers {
		for _, p := range c.described.Ports {
			if p.Port == port {
				return p.Forward, true
			}
			listens = false
		}
	}
	for _, c := range podlife.Containers(e.pod) {
		for _, p := range c.Ports {
			if p.Protocol != "" && p.Protocol != v1.ProtocolTCP {
				continue
			}
			if p.ContainerPort == port {
				return "", true
			}
			listens = false
		}
	}
	return "", listens
}

// splice copies data in both directions between stream and an address. The two directions end independently.
func splice(ctx context.Context, stream io.ReadWriteCloser, address string) error {
	defer stream.Close()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("failed to connect to %s: %w", address, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
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
