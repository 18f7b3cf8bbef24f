package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"fauxlet/authchain"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// streamed returns the pod default/nginx, whose container runs commands and forwards a port.
func streamed(forward string) []scenario.Pod {
	spec := nginx(0)[0]
	answers := []scenario.ExecAnswer{
		{Command: []string{"greet"}, Stdout: "hello\n", Stderr: "(quietly)\n"},
		{Command: []string{"fail"}, Stderr: "no\n", ExitCode: 42},
		{Command: []string{"medium"}, Stdout: strings.Repeat("0123456789abcdef", 1<<12)},
		{Command: []string{"big"}, Stdout: strings.Repeat("0123456789abcdef", 1<<16)},
	}
	ports := []scenario.Port{{Port: 80}}
	if forward != "" {
		ports = append(ports, scenario.Port{Port: 81, Forward: forward})
	}
	spec.Containers["nginx"] = scenario.Container{Exec: answers, Ports: ports,
		Log: scenario.Log{Interval: metav1.Duration{Duration: 10 * time.Millisecond}}}
	return []scenario.Pod{spec}
}

// clientConfig is the configuration of a client that may do everything.
func (f *fixture) clientConfig(t testing.TB) *rest.Config {
	t.Helper()
	pair, err := f.ca.Client("kubelet-client", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: f.url,
		TLSClientConfig: rest.TLSClientConfig{CAData: f.ca.CertPEM(), CertData: pair.CertPEM, KeyData: pair.KeyPEM}}
}

func (f *fixture) streamURL(t testing.TB, path string) *url.URL {
	t.Helper()
	u, err := url.Parse(f.url + path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// streamProtocols are the protocols for exec and attach.
var streamProtocols = []string{"v5.channel.k8s.io over a WebSocket", "v4.channel.k8s.io over a WebSocket",
	"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"}

const spdyProtocol = "v4.channel.k8s.io"

func (f *fixture) executor(t testing.TB, protocol, path string) remotecommand.Executor {
	t.Helper()
	config := f.clientConfig(t)
	u := f.streamURL(t, path)
	var executor remotecommand.Executor
	var err error
	if webSocket, ok := strings.CutSuffix(protocol, " over a WebSocket"); ok {
		executor, err = remotecommand.NewWebSocketExecutorForProtocols(config, http.MethodGet, u.String(), webSocket)
	} else {
		var transport http.RoundTripper
		var upgrader spdy.Upgrader
		if transport, upgrader, err = spdy.RoundTripperFor(config); err == nil {
			executor, err = remotecommand.NewSPDYExecutorForProtocols(transport, upgrader, http.MethodPost, u, protocol)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return executor
}

func TestExec(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	for _, protocol := range streamProtocols {
		t.Run(protocol, func(t *testing.T) {
			for _, test := range []struct {
				command, stdout, stderr string
				code                    int
			}{
				{"greet", "hello\n", "(quietly)\n", 0},
				{"fail", "", "no\n", 42},
				{"big", strings.Repeat("0123456789abcdef", 1<<16), "", 0},
			} {
				var stdout, stderr bytes.Buffer
				err := f.executor(t, protocol,
					"/exec/default/nginx/nginx?output=1&error=1&command="+test.command).StreamWithContext(t.Context(),
					remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
				var exit utilexec.CodeExitError
				switch versioned := !strings.HasPrefix(protocol, "v2") && !strings.HasPrefix(protocol, "v3"); {
				case test.code == 0 && err != nil, test.code != 0 && err == nil:
					t.Errorf("%s: %v", test.command, err)
				case test.code != 0 && versioned && (!errors.As(err, &exit) || exit.Code != test.code):
					t.Errorf("%s: %v, want exit code %d", test.command, err, test.code)
				case test.code != 0 && !versioned && !strings.Contains(err.Error(), "exit code"):
					t.Errorf("%s: %v", test.command, err)
				}
				if stdout.String() != test.stdout || stderr.String() != test.stderr {
					t.Errorf("%s: stdout %.50q, stderr %q", test.command, &stdout, &stderr)
				}
			}
			d := f.find(t, "the upgrade",
				func(d *authchain.Decision) bool { return d.Status == http.StatusSwitchingProtocols })
			if d.User.GetName() != "kubelet-client" {
				t.Errorf("Decision %+v", d)
			}
		})
	}
}

// TestExecInput checks that a command gets all input and its end, although it leaves the input unread at first, and
// that the client then gets all output.
func TestExecInput(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	input := strings.Repeat("0123456789abcdef", 1<<17) // more than all buffers on the way hold
	for _, protocol := range streamProtocols {
		if protocol == "v4.channel.k8s.io over a WebSocket" {
			continue // this protocol cannot send the end of the input
		}
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var stdout bytes.Buffer
			err := f.executor(t, protocol, "/exec/default/nginx/nginx?input=1&output=1&command=sh&command=-c&"+
				"command=sleep+0.5%3Bcat").StreamWithContext(t.Context(),
				remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &stdout})
			if err != nil || stdout.String() != input {
				t.Errorf("%d bytes of %d, %v", stdout.Len(), len(input), err)
			}
		})
	}
}

// TestTooManyExpectedStreams sends 1,000 requests for streams that do not upgrade their connection. Requests for
// streams must then be refused for a minute, for exec, attach and port-forward alike. A request that upgrades its
// connection does not count.
func TestTooManyExpectedStreams(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	exec := func() error {
		return f.executor(t, spdyProtocol, "/exec/default/nginx/nginx?output=1&command=greet").StreamWithContext(
			t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
	}
	paths := []string{"/exec/default/nginx/nginx?output=1", "/attach/default/nginx/nginx?output=1",
		"/portForward/default/nginx"}
	for i := range 1000 {
		if i == 990 {
			if err := exec(); err != nil {
				t.Fatal(err)
			}
		}
		if got, body := f.ask(t, client, http.MethodPost, paths[i%3]); got.StatusCode != 500 {
			t.Fatalf("request %d: %d %q", i, got.StatusCode, body)
		}
	}
	for _, path := range paths {
		got, body := f.ask(t, client, http.MethodPost, path)
		if got.StatusCode != 429 || got.Header.Get("Retry-After") != "60" ||
			body != "rpc error: code = ResourceExhausted desc = maximum number of in-flight requests exceeded" {
			t.Errorf("%s: %d %v %q, want 429", path, got.StatusCode, got.Header, body)
		}
	}
	if err := exec(); err == nil {
		t.Error("an exec succeeds although there are too many requests")
	}
	if got, body := f.ask(t, client, http.MethodPost, "/run/default/nginx/nginx?cmd=greet"); got.StatusCode != 200 {
		t.Errorf("/run: %d %q, want 200", got.StatusCode, body)
	}
}

// TestErrorsHideCredentials checks that an error that contains the headers of a request does not contain its token.
// Each request has its own connection, because like a kubelet, the Server closes the connection after a request to
// upgrade it, and does not announce this in the response.
func TestErrorsHideCredentials(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	const protocol = "base64url.bearer.authorization.k8s.io."
	for _, test := range []struct{ path, header, want string }{
		{"/exec/default/nginx/nginx?output=1", "Authorization: Bearer s3cret", `"Authorization":[]string{"removed"}`},
		{"/attach/default/nginx/nginx?input=1", "Sec-WebSocket-Protocol: " + protocol + "czNjcmV0, v4.channel.k8s.io",
			`"` + protocol + `removed, v4.channel.k8s.io"`},
	} {
		client := f.client(t, f.certificate(t, "kubelet-client"))
		_, body := f.ask(t, client, http.MethodPost, test.path, "Connection: Upgrade", "Upgrade: other",
			"X-Stream-Protocol-Version: v4.channel.k8s.io", test.header)
		if !strings.Contains(body, test.want) || strings.Contains(body, "s3cret") || strings.Contains(body, "czNjcmV0") {
			t.Errorf("%s: the error %q does not contain %q", test.header, body, test.want)
		}
	}
}

// TestExecOldest runs a command with the first version of the protocol, in which the error stream is empty if the
// command succeeds.
func TestExecOldest(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	var stdout, stderr bytes.Buffer
	err := f.executor(t, "channel.k8s.io",
		"/exec/default/nginx/nginx?output=1&error=1&command=greet").StreamWithContext(t.Context(),
		remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	if err != nil || stdout.String() != "hello\n" || stderr.String() != "(quietly)\n" {
		t.Errorf("%v, stdout %q, stderr %q", err, &stdout, &stderr)
	}
}

// TestManyStreams runs several commands at the same time, each on its own connection.
func TestManyStreams(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			var stdout bytes.Buffer
			err := f.executor(t, streamProtocols[i%len(streamProtocols)],
				"/exec/default/nginx/nginx?output=1&command=medium").StreamWithContext(t.Context(),
				remotecommand.StreamOptions{Stdout: &stdout})
			if err != nil || stdout.Len() != 1<<16 {
				t.Errorf("stream %d: %d bytes, %v", i, stdout.Len(), err)
			}
		})
	}
	group.Wait()
}

// TestStreamsEnd expects a command to end when its client disconnects, at the idle timeout, and when the Server
// stops.
func TestStreamsEnd(t *testing.T) {
	hang := "/exec/default/nginx/nginx?output=1&command=sh&command=-c&command=echo+begun%26%26sleep+3600"
	// begin starts the command and returns when the command is running. If a test ended the stream earlier, the client
	// and the server would wait 30 s for the streams that are still missing.
	begin := func(t *testing.T, ctx context.Context, f *fixture) chan error {
		ended := make(chan error, 1)
		output, stdout := io.Pipe()
		executor := f.executor(t, spdyProtocol, hang)
		go func() {
			err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: stdout})
			stdout.CloseWithError(err)
			ended <- err
		}()
		if line, err := bufio.NewReader(output).ReadString('\n'); line != "begun\n" {
			t.Fatalf("%q, %v", line, err)
		}
		return ended
	}
	t.Run("client", func(t *testing.T) {
		f := newFixture(t, fixtureOptions{pods: streamed("")})
		ctx, cancel := context.WithCancel(t.Context())
		ended := begin(t, ctx, f)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		f.find(t, "the end of the stream",
			func(d *authchain.Decision) bool { return d.Status == http.StatusSwitchingProtocols })
	})
	t.Run("idle", func(t *testing.T) {
		f := newFixture(t, fixtureOptions{pods: streamed(""), yaml: "streamingConnectionIdleTimeout: 100ms\n"})
		// The client only sees that the stream has ended, so the error is not compared.
		_ = f.executor(t, spdyProtocol, hang).StreamWithContext(t.Context(),
			remotecommand.StreamOptions{Stdout: io.Discard})
	})
	t.Run("server", func(t *testing.T) {
		f := newFixture(t, fixtureOptions{pods: streamed("")})
		ended := begin(t, t.Context(), f)
		if err := f.stop(); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

// TestCommandEndsWithClient checks that the context of a command ends when its client disconnects, even if the command
// leaves so much input unread that nothing reads the client's connection any more. Each byte is a frame of its own.
func TestCommandEndsWithClient(t *testing.T) {
	spec := streamed("")
	spec[0].Pod.Spec.Containers[0].Stdin = true
	executor := deafExecutor{started: make(chan struct{}), ended: make(chan error)}
	f := newFixture(t, fixtureOptions{pods: spec, executor: executor})
	for _, path := range []string{"/exec/default/nginx/nginx?command=deaf&", "/attach/default/nginx/nginx?"} {
		for _, protocol := range streamProtocols {
			for _, input := range []int{0, 1000} { // bytes
				t.Run(fmt.Sprintf("%.5s with %s, %d bytes", path, protocol, input), func(t *testing.T) {
					sent := make(chan struct{})
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					disconnected := make(chan error)
					client := f.executor(t, protocol, path+"input=1&output=1")
					go func() {
						disconnected <- client.StreamWithContext(ctx, remotecommand.StreamOptions{
							Stdin: &bytewise{input, sent}, Stdout: io.Discard})
					}()
					<-executor.started
					<-sent
					cancel()
					if err := <-disconnected; !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					if err := <-executor.ended; !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				})
			}
		}
	}
}

// deafExecutor is an Executor whose commands never read their input.
type deafExecutor struct {
	started chan struct{}
	ended   chan error
}

func (d deafExecutor) NewEnvironment(pods.ContainerConfig) (pods.Environment, error) { return d, nil }

func (d deafExecutor) Run(ctx context.Context, _ []string, _ pods.Streams) (int, error) {
	d.started <- struct{}{}
	<-ctx.Done()
	d.ended <- ctx.Err()
	return 0, ctx.Err()
}

// bytewise is an input whose Reads return one byte each. It closes a channel when it ends.
type bytewise struct {
	remaining int // bytes
	ended     chan struct{}
}

func (b *bytewise) Read(p []byte) (int, error) {
	if b.remaining == 0 {
		close(b.ended)
		return 0, io.EOF
	}
	b.remaining--
	return copy(p, "x"), nil
}

func TestAttach(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	for _, protocol := range streamProtocols {
		t.Run(protocol, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stdin, input := io.Pipe()
			output, stdout := io.Pipe()
			ended := make(chan error)
			executor := f.executor(t, protocol, "/attach/default/nginx/nginx?input=1&output=1")
			go func() {
				ended <- executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout})
				stdout.Close()
			}()
			go io.WriteString(input, "hello?\n")
			lines, echoed, written := bufio.NewScanner(output), false, 0
			for (!echoed || written < 3) && lines.Scan() {
				if lines.Text() == "hello?" {
					echoed = true
				} else {
					written++
				}
			}
			if !echoed || written < 3 {
				t.Errorf("echoed %v, %d lines", echoed, written)
			}
			cancel()
			go io.Copy(io.Discard, output)
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			input.Close()
		})
	}
}

// TestPortForward forwards ports over SPDY and through a tunnel in a WebSocket.
func TestPortForward(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				all, _ := io.ReadAll(conn) // returns when the client has closed its side for writing
				fmt.Fprintf(conn, "%d bytes", len(all))
			}()
		}
	}()
	f := newFixture(t, fixtureOptions{pods: streamed(echo.Addr().String())})
	config := f.clientConfig(t)
	u := f.streamURL(t, "/portForward/default/nginx")
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, config)
	if err != nil {
		t.Fatal(err)
	}
	for i, forward := range []struct {
		name   string
		dialer httpstream.Dialer
	}{{"spdy", spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost,
		u)}, {"tunnel", tunnel}} {
		t.Run(forward.name, func(t *testing.T) {
			stop, ready := make(chan struct{}), make(chan struct{})
			forwarder, err := portforward.NewOnAddressesForStreaming(forward.dialer, []string{"127.0.0.1"},
				[]string{":80", ":81", ":82"}, stop, ready, io.Discard, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() { ended <- forwarder.ForwardPorts() }()
			<-ready
			ports, err := forwarder.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(
				fmt.Sprintf("http://127.0.0.1:%d/a?b=c", ports[0].Local))
			if err != nil {
				t.Fatal(err)
			}
			page, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if want := fmt.Sprintf("pod default/nginx\nport 80\nconnection %d\nGET /a?b=c\n",
				2*i+1); string(page) != want {
				t.Errorf("port 80: %q, want %q", page, want)
			}

			half, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(half, "GET / HTTP/1.0\r\n\r\n")
			half.(*net.TCPConn).CloseWrite()
			if answer, err := io.ReadAll(half); !strings.HasPrefix(string(answer), "HTTP/1.0 200 OK\r\n") {
				t.Errorf("port 80, half closed: %q, %v", answer, err)
			}
			half.Close()

			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1].Local))
			if err != nil {
				t.Fatal(err)
			}
			conn.Write(make([]byte, 1<<20))
			conn.(*net.TCPConn).CloseWrite()
			if answer, err := io.ReadAll(conn); string(answer) != "1048576 bytes" {
				t.Errorf("port 81: %q, %v", answer, err)
			}
			conn.Close()

			refused, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[2].Local))
			if err != nil {
				t.Fatal(err)
			}
			if answer, _ := io.ReadAll(refused); len(answer) > 0 {
				t.Errorf("port 82: %q", answer)
			}
			refused.Close()
			close(stop)
			<-ended
		})
	}
}

// TestPortForwardAfterUnreadData keeps sending data on a forwarded connection that the port has already closed, so
// nothing reads the data. Later connections of the same session must still be served.
func TestPortForwardAfterUnreadData(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	transport, upgrader, err := spdy.RoundTripperFor(f.clientConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	dialer := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost,
		f.streamURL(t, "/portForward/default/nginx"))
	for _, test := range []struct {
		name, begin string
	}{
		{name: "a request line that is too long", begin: "GET /"},
		{name: "no HTTP", begin: "GARBAGE\r\n"},
		{name: "the last request", begin: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error)
			forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"},
				[]string{":80"}, stop, ready, io.Discard, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			go func() { ended <- forwarder.ForwardPorts() }()
			<-ready
			ports, err := forwarder.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = io.WriteString(conn, test.begin+strings.Repeat("x", 8<<20)) // may fail
			}()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for range 10 {
				response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local))
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
			}
			conn.Close()
			<-sent
			close(stop)
			<-ended
		})
	}
}

// TestRun checks that /run declares any output as application/json, as a kubelet does.
func TestRun(t *testing.T) {
	f := newFixture(t, fixtureOptions{pods: streamed("")})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for _, test := range []struct {
		command string
		status  int
		body    string
	}{
		{"greet", 200, "hello\n(quietly)\n"},
		{"fail", 500, "command 'fail' exited with 42: no\n"},
	} {
		got, body := f.ask(t, client, http.MethodPost, "/run/default/nginx/nginx?cmd="+test.command)
		if got.StatusCode != test.status || body != test.body {
			t.Errorf("%s: %d %q", test.command, got.StatusCode, body)
		}
		if kind := got.Header.Get("Content-Type"); test.status == 200 && kind != "application/json" {
			t.Errorf("%s: Content-Type %q", test.command, kind)
		}
	}
}

// TestStreamsRefused checks the errors that are returned before a stream begins.
func TestStreamsRefused(t *testing.T) {
	crashing := streamed("")
	crashing[0].Pod.Spec.Containers = append(crashing[0].Pod.Spec.Containers, v1.Container{Name: "crashing"},
		v1.Container{Name: "terminal", TTY: true})
	crashing[0].Containers["crashing"] = scenario.Container{State: "CrashLoopBackOff"}
	f := newFixture(t, fixtureOptions{pods: crashing})
	client := f.client(t, f.certificate(t, "kubelet-client"))
	for _, test := range []struct {
		path, header string
		status       int
		body         string
	}{
		{"/exec/default/nginx/crashing?output=1", "", 500, `container not found ("crashing")`},
		{"/attach/default/nginx/crashing?output=1", "", 500, "container crashing not found in pod nginx_default"},
		{"/attach/default/nginx/other/nginx?output=1", "", 500, "pod nginx_default not found"},
		{"/attach/default/nginx/terminal?output=1&error=1", "", 500,
			"rpc error: code = InvalidArgument desc = tty and stderr cannot both be true"},
		{"/portForward/default/nginx/other", "", 404, "pod not found"},
		{"/portForward/default/nginx", "Upgrade: websocket", 500, "Upgrade request required\n"},
		{"/exec/default/nginx/nginx?output=1", "", 500, "Upgrade request required\n"},
	} {
		var headers []string
		if test.header != "" {
			headers = append(headers, test.header)
		}
		got, body := f.ask(t, client, http.MethodGet, test.path, headers...)
		if got.StatusCode != test.status || body != test.body {
			t.Errorf("%s %s: %d %q, want %d %q", test.path, test.header, got.StatusCode, body, test.status, test.body)
		}
	}
	// A request with a body that nothing reads is refused too. The error contains the number of headers. That number
	// includes the header Authorization, although the Server has removed its value.
	refused := tls.Client(f.dial(t),
		&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*f.certificate(t, "kubelet-client")}})
	defer refused.Close()
	io.WriteString(refused,
		"POST /exec/default/nginx/nginx?output=1 HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nAuthorization: "+
			"Bearer x\r\nContent-Length: 10\r\n\r\n0123456789")
	answer, err := http.ReadResponse(bufio.NewReader(refused), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != 400 ||
		string(body) != "unable to upgrade: header X-Stream-Protocol-Version does not exist in request with "+
			"5 headers\n" {
		t.Errorf("with a body: %d %q", answer.StatusCode, body)
	}
	// A WebSocket for a port-forward must name its ports in the query, and not too many.
	got, body := f.ask(t, client, http.MethodGet, "/portForward/default/nginx?"+strings.Repeat("port=80&", 129),
		"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: v4.channel.k8s.io")
	if want := `query parameter "port": 129 ports, at most 128 can be forwarded`; got.StatusCode != 400 || body != want {
		t.Errorf("a WebSocket with 129 ports: %d %q, want 400 %q", got.StatusCode, body, want)
	}
	conn := tls.Client(f.dial(t),
		&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*f.certificate(t, "kubelet-client")}})
	defer conn.Close()
	io.WriteString(conn, "GET /portForward/default/nope HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: "+
		"websocket\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(response.Body); response.StatusCode != 400 ||
		string(body) != `query parameter "port" is required` {
		t.Errorf("a WebSocket without ports: %d %q", response.StatusCode, body)
	}
}
