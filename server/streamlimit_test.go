package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/spdystream/spdy"
)

// spdyClient is a client that writes and reads the frames of a SPDY connection itself.
type spdyClient struct {
	*spdy.Framer
	t    testing.TB
	conn io.WriteCloser
	last spdy.StreamId
	// The channel "finished" gets the ID of each stream that the server finishes. It is closed when the server closes
	// the connection.
	finished chan spdy.StreamId
}

func (f *fixture) spdy(t testing.TB, path, protocol string) *spdyClient {
	t.Helper()
	conn := tls.Client(f.dial(t),
		&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*f.certificate(t, "kubelet-client")}})
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"+
		"X-Stream-Protocol-Version: %s\r\n\r\n", path, protocol)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %+v, %v", path, response, err)
	}
	framer, err := spdy.NewFramer(conn, reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &spdyClient{Framer: framer, t: t, conn: conn, finished: make(chan spdy.StreamId, 1<<16)}
	go func() {
		defer close(c.finished)
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if data, ok := frame.(*spdy.DataFrame); ok && data.Flags&spdy.DataFlagFin != 0 {
				c.finished <- data.StreamId
			}
		}
	}()
	return c
}

// The method "write" writes a frame. An error means that the server has closed the connection, which the channel
// "finished" also reports.
func (c *spdyClient) write(frame spdy.Frame) { _ = c.WriteFrame(frame) }

// The method "open" opens a stream. The headers are names, each followed by its value.
func (c *spdyClient) open(flags spdy.ControlFlags, headers ...string) spdy.StreamId {
	if c.last == 0 {
		c.last = 1
	} else {
		c.last += 2
	}
	frame := &spdy.SynStreamFrame{StreamId: c.last, Headers: http.Header{}}
	frame.CFHeader.Flags = flags
	for i := 0; i < len(headers); i += 2 {
		frame.Headers.Set(headers[i], headers[i+1])
	}
	c.write(frame)
	return c.last
}

// forward opens the streams of n forwarded connections, and sends a request on each.
func (c *spdyClient) forward(n int) {
	for range n {
		id := fmt.Sprint(c.last)
		c.open(spdy.ControlFlagFin, "streamtype", "error", "port", "80", "requestid", id)
		data := c.open(0, "streamtype", "data", "port", "80", "requestid", id)
		c.write(&spdy.DataFrame{StreamId: data, Data: []byte("GET / HTTP/1.0\r\n\r\n"), Flags: spdy.DataFlagFin})
	}
}

// TestStreamLimit checks which clients of a SPDY connection are disconnected.
func TestStreamLimit(t *testing.T) {
	executor := deafExecutor{started: make(chan struct{}), ended: make(chan error, 2)}
	f := newFixture(t, fixtureOptions{pods: streamed(""), executor: executor})
	const (
		exec    = "/exec/default/nginx/nginx?command=deaf&output=1"
		forward = "/portForward/default/nginx"
	)
	half := func(c *spdyClient) spdy.StreamId {
		return c.open(0, "streamtype", "error", "port", "80", "requestid", fmt.Sprint(c.last))
	}
	for _, test := range []struct {
		name, path, protocol string
		send                 func(*spdyClient)
	}{
		{"port-forward: 2,001 streams", forward, "portforward.k8s.io", func(c *spdyClient) {
			for range 2001 {
				half(c)
			}
		}},
		{"port-forward: 2,001 streams, each reset at once", forward, "portforward.k8s.io", func(c *spdyClient) {
			for range 2001 {
				c.write(&spdy.RstStreamFrame{StreamId: half(c), Status: spdy.Cancel})
			}
		}},
		{"port-forward: the same ID twice", forward, "portforward.k8s.io", func(c *spdyClient) {
			c.last = half(c) - 2
			half(c)
		}},
		{"port-forward: a unidirectional stream", forward, "portforward.k8s.io", func(c *spdyClient) {
			c.open(spdy.ControlFlagUnidirectional|spdy.ControlFlagFin, "streamtype", "error", "port", "80")
		}},
		{"port-forward: bytes after the fields of a PING", forward, "portforward.k8s.io", func(c *spdyClient) {
			ping := []byte{0x80, 3, 0, byte(spdy.TypePing), 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0}
			if _, err := c.conn.Write(ping); err != nil {
				c.t.Error(err)
			}
		}},
		{"port-forward: 2,001 streams of a connection with another name of the protocol", forward,
			"portforward.k8s.io\r\nUpgrade: x, spdy/3.1", func(c *spdyClient) {
				for range 2001 {
					half(c)
				}
			}},
		{"port-forward: a long header", forward, "portforward.k8s.io", func(c *spdyClient) {
			c.open(0, "streamtype", "error", "port", "80", "requestid", strings.Repeat("x", 2000))
		}},
		{"port-forward: many headers", forward, "portforward.k8s.io", func(c *spdyClient) {
			headers := []string{"streamtype", "error", "port", "80", "requestid", "1"}
			for i := range 14 {
				headers = append(headers, fmt.Sprint("x", i), "x")
			}
			c.open(0, headers...)
		}},
		{"exec: three streams where two are requested", exec, "v4.channel.k8s.io", func(c *spdyClient) {
			c.open(0, "streamtype", "error")
			c.open(0, "streamtype", "stdout")
			<-executor.started
			c.open(0, "streamtype", "stdout")
		}},
		{"exec: a stream in place of one that was reset", exec, "v4.channel.k8s.io", func(c *spdyClient) {
			c.open(0, "streamtype", "error")
			stdout := c.open(0, "streamtype", "stdout")
			<-executor.started
			c.write(&spdy.RstStreamFrame{StreamId: stdout, Status: spdy.Cancel})
			c.open(0, "streamtype", "stdout")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := f.spdy(t, test.path, test.protocol)
			test.send(c)
			for id := range c.finished { // ends when the server closes the connection
				t.Logf("stream %d is finished", id)
			}
		})
	}
	t.Run("port-forward: 4,000 streams, 1,600 at a time", func(t *testing.T) {
		c := f.spdy(t, forward, "portforward.k8s.io")
		for range 5 {
			c.forward(800)
			for range 2 * 800 {
				if _, open := <-c.finished; !open {
					t.Fatal("the server has closed the connection")
				}
			}
		}
	})
}

// BenchmarkManyStreams reports how much memory a connection takes whose client opens 20,000 streams.
func BenchmarkManyStreams(b *testing.B) {
	for name, request := range map[string]struct{ path, protocol, kind string }{
		"exec":        {"/exec/default/nginx/nginx?command=deaf&output=1", "v4.channel.k8s.io", "stdout"},
		"portforward": {"/portForward/default/nginx", "portforward.k8s.io", "error"},
	} {
		b.Run(name, func(b *testing.B) {
			executor := deafExecutor{started: make(chan struct{}, 1<<10), ended: make(chan error, 1<<10)}
			f := newFixture(b, fixtureOptions{pods: streamed(""), executor: executor})
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				c := f.spdy(b, request.path, request.protocol)
				c.open(0, "streamtype", "error", "port", "80", "requestid", "0")
				if request.kind == "stdout" {
					c.open(0, "streamtype", "stdout")
					<-executor.started
				}
				for i := range 20000 {
					c.open(0, "streamtype", request.kind, "port", "80", "requestid", fmt.Sprint(i))
				}
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/1e6, "MB")
				b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
				c.conn.Close()
				for range c.finished {
				}
			}
		})
	}
}
